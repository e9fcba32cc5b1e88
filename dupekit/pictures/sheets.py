"""Reference sheets: a page a class, of typical images and of the classes that it is confused with. To be printed, or looked
at beside the work; without a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dupekit.pictures.gallery import Gallery, Picture
from dupekit.pictures.templates import render, render_alone
from dupekit.pictures.thumbnails import Thumbnail
from dupekit.rounds.in_words import percent
from dupekit.rounds.references import Reference
from dupekit.system.progress import Progress, silent

BUDGET = 60_000_000
"""Bytes of all images of the sheets, each as often as it is shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """A class that another is confused with."""

    label: str
    share: float
    """Of the other's predictions."""
    typical: Sequence[Reference]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Of one class."""

    label: str
    images: int
    """In the round."""
    typical: Sequence[Reference]
    confused: Sequence[Look]
    """Most often first."""

    def references(self) -> Iterator[Reference]:
        yield from self.typical
        for look in self.confused:
            yield from look.typical


@dataclass(frozen=True, slots=True)
class _Shown:
    """An image as the template shows it."""

    uri: str
    width: int
    height: int
    """In pixels of the image itself."""
    confirmed: bool


def write_sheets(
    out: BinaryIO, sheets: Sequence[Sheet], gallery: Gallery, *, title: str, progress: Progress = silent
) -> int:
    """Writes the page of all sheets; returns how many images could not be shown, which are left out."""
    wanted = _wanted(sheets)
    uses = sum(len(list(sheet.references())) for sheet in sheets)
    side = gallery.side_px(wanted, budget=BUDGET * len(wanted) // max(uses, 1))
    made = _made(wanted, gallery, side, progress)
    page = render_alone(
        "sheets.html",
        styles=("base.css", "sheets.css"),
        title=title,
        sheets=[_filled(number, sheet, made) for number, sheet in enumerate(sheets)],
    )
    out.write(page.encode())
    return len(wanted) - len(made)


def section(sheets: Sequence[Sheet], gallery: Gallery, *, limit_bytes: int) -> str:
    """The same in short, as a piece of HTML for another page. The images are as small, and in the end as few, as it takes to
    stay below so many bytes; "" where there are none."""
    for side, typical, look in ((112, 5, 3), (88, 5, 3), (72, 4, 2), (56, 3, 2)):
        short = [_shortened(sheet, typical, look) for sheet in sheets if sheet.typical]
        made = _made(_wanted(short), gallery, side, silent)
        text = render("sheets_short.html", sheets=[_filled(n, sheet, made) for n, sheet in enumerate(short)])
        if len(text.encode()) <= limit_bytes:
            return text if made else ""
    return ""


def _shortened(sheet: Sheet, typical: int, look: int) -> Sheet:
    confused = [Look(one.label, one.share, one.typical[:look]) for one in sheet.confused if one.typical]
    return Sheet(sheet.label, sheet.images, sheet.typical[:typical], confused)


def _wanted(sheets: Iterable[Sheet]) -> list[Picture]:
    return [*dict.fromkeys(Picture(one.path, one.digest) for sheet in sheets for one in sheet.references())]


def _made(
    wanted: Sequence[Picture], gallery: Gallery, side_px: int, progress: Progress
) -> dict[str, Thumbnail]:
    """By path; without what cannot be read."""
    found = zip(wanted, gallery.thumbnails(wanted, side_px=side_px, progress=progress), strict=True)
    return {picture.path: one for picture, one in found if isinstance(one, Thumbnail)}


def _filled(number: int, sheet: Sheet, made: dict[str, Thumbnail]) -> dict[str, object]:
    """What a template shows of a sheet; its number names its place in the page, since a label can hold anything."""

    def shown(references: Sequence[Reference]) -> list[_Shown]:
        pictures = ((made.get(one.path), one.confirmed) for one in references)
        return [_Shown(one.uri, one.width, one.height, sure) for one, sure in pictures if one]

    return {
        "id": f"class-{number}",
        "label": sheet.label,
        "images": sheet.images,
        "typical": shown(sheet.typical),
        "confused": [
            {"label": one.label, "share": percent(one.share), "typical": shown(one.typical)}
            for one in sheet.confused
        ],
    }
