"""The page of one image: large, beside typical images and look-alikes, with all that is known of it. Values in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dupekit.pictures.templates import render_alone
from dupekit.pictures.thumbnails import Thumbnail

SHOWN_PX = 440
"""The longer side of a small image is enlarged to about this."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A small picture with its caption."""

    picture: Thumbnail | None
    """None where the image cannot be read."""
    path: str
    label: str
    note: str
    """Such as "99 % sure"."""
    named: bool
    """Whether its label stands with it."""
    confirmed: bool
    other: bool
    """Whether that it is another class than the given one is worth a mark."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known, and words to it."""

    name: str
    value: str
    quiet: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of a bar chart."""

    name: str
    label: str
    probability: float | None
    figures: Sequence[str]
    against: bool
    """Whether it speaks against the given label."""


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    headings: Sequence[str]
    """Of the name, if any has one, the label, the bar, and each figure."""
    bars: Sequence[Bar]
    note: str = ""

    @property
    def named(self) -> bool:
        return any(bar.name for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Listed:
    """A table of words."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def filled(self) -> Listed:
        """Without columns in which nothing stands."""
        kept = [at for at in range(len(self.headings)) if any(row[at] for row in self.rows)]
        rows = [[row[at] for at in kept] for row in self.rows]
        return Listed(self.title, [self.headings[at] for at in kept], rows)


@dataclass(frozen=True, slots=True)
class Strip:
    title: str
    pictures: Sequence[Shown]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A length in the image that is easily said."""

    pixels: int
    share: float
    """Of the image's width."""


@dataclass(frozen=True, slots=True)
class ExplainPage:
    """All that the page shows. What is empty is left out."""

    path: str
    image: Thumbnail | None
    missing: str
    """Why there is no picture."""
    verdict: str
    """As a class of the style sheet: "correct", "relabel", "expunge", "unsure" or "open"."""
    verdict_words: str
    facts: Sequence[Fact]
    strips: Sequence[Strip]
    charts: Sequence[Chart]
    tables: Sequence[Listed]
    version: str

    @property
    def scale(self) -> ScaleBar | None:
        return None if self.image is None else scale_bar(self.image.width)

    @property
    def size(self) -> tuple[int, int]:
        """In which the image is shown: enlarged by a whole factor where it is small."""
        if self.image is None:
            return (0, 0)
        factor = max(1, SHOWN_PX // max(self.image.width, self.image.height))
        return self.image.width * factor, self.image.height * factor


def scale_bar(width_px: int) -> ScaleBar:
    """The longest of 1, 2, 5, 10, 20 ... pixels that takes at most a third of the width."""
    lengths = [step * 10**power for power in range(7) for step in (1, 2, 5)]
    pixels = max([length for length in lengths if 3 * length <= width_px], default=1)
    return ScaleBar(pixels, min(pixels / width_px, 1.0))


def explain_page(page: ExplainPage) -> str:
    """HTML that stands alone, and runs no script."""
    return render_alone("explain.html", styles=("base.css", "explain.css"), page=page)
