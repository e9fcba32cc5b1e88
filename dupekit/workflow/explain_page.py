"""The page of one image: what is known of it in words, and its pictures."""

from __future__ import annotations

import hashlib
from datetime import datetime
from importlib import metadata
from pathlib import Path

from dupekit.errors import ImageError
from dupekit.files.names import escape
from dupekit.files.paths import real_path
from dupekit.files.write import write_text
from dupekit.ledger.one_image import Counted
from dupekit.pictures.explain import Bar, Chart, ExplainPage, Fact, Listed, Shown, Strip, explain_page
from dupekit.pictures.gallery import Gallery, Picture
from dupekit.pictures.thumbnails import Thumbnail, large
from dupekit.rounds.references import Reference
from dupekit.workflow.explain import Explained, Explanation, decision_words, verdict_words
from dupekit.workflow.page_place import page_place
from dupekit.workflow.references import References
from dupekit.workflow.session import Session

TYPICAL = 7
"""So many images of each of the two classes."""
LARGE_PX, SMALL_PX = 1200, 160


def write_explain_page(session: Session, found: Explanation, place: Path) -> None:
    """Raises UsageError where a page must not be written there."""
    write_text(page_place(session, place, default=place), explain_page(_page(session, found)))


def _page(session: Session, explanation: Explanation) -> ExplainPage:
    found = explanation.explained
    image, missing = _large(session, found.image.path, found.image.digest)
    return ExplainPage(
        path=found.image.path,
        image=image,
        missing=missing,
        verdict=_verdict(found.counted),
        verdict_words=verdict_words(found.counted),
        facts=_facts(session, found),
        strips=_strips(session, found, explanation.references),
        charts=_charts(found),
        tables=_tables(found),
        version=metadata.version("dupekit"),
    )


def _verdict(counted: Counted | None) -> str:
    return counted.verdict if counted and counted.verdict else "open"


def _facts(session: Session, found: Explained) -> list[Fact]:
    counted = found.counted
    facts = [Fact("Now in", found.given)]
    if counted:
        facts += [
            Fact(
                "The models say",
                counted.suggested,
                f"{counted.votes} of {counted.predictions} votes, {_percent(counted.probability_suggested)} sure;"
                f" {_percent(counted.probability_given)} for {counted.given}",
            ),
            Fact(
                "Rank",
                f"{found.rank:,} of {found.images:,}",
                f"1 is the most suspicious; score {counted.score:.2f}",
            ),
        ]
    facts.append(Fact("Standing", found.standing[0].upper() + found.standing[1:], found.why))
    for tree in found.trees:
        now = "" if tree.there else "It does not lie there any more."
        facts.append(Fact("In a review tree", tree.path, f"{now} {tree.tree}".strip()))
    for copy in found.copies:
        other = "the same class" if copy.label == found.given else f"another class: {copy.label}"
        facts.append(Fact("Identical image", copy.path, other))
    return [*facts, Fact("File", escape(str(real_path(session.dataset, found.image.path))))]


def _strips(session: Session, found: Explained, known: References | None) -> list[Strip]:
    """Typical images of both classes, and look-alikes."""
    if known is None:
        return []
    labels = [found.given, *([found.counted.suggested] if found.counted else [])]
    beside = {label: known.beside(found.image.number, label, TYPICAL) for label in labels}
    shown = [one for some in (*beside.values(), found.alike) for one in some]
    gallery = Gallery(session.dataset, session.settings.max_pixels)
    wanted = [Picture(one.path, one.digest) for one in shown]
    made = dict(zip(wanted, gallery.thumbnails(wanted, side_px=SMALL_PX), strict=True))

    def pictured(one: Reference, note: str, *, mark: bool) -> Shown:
        picture = made[Picture(one.path, one.digest)]
        return Shown(
            picture=picture if isinstance(picture, Thumbnail) else None,
            path=one.path,
            label=one.label,
            note=note,
            named=mark,
            confirmed=one.confirmed,
            other=mark and one.label != found.given,
        )

    strips = [
        Strip(
            f"{label}, typical",
            [pictured(one, f"{_percent(one.probability_given)} sure", mark=False) for one in some],
        )
        for label, some in beside.items()
    ]
    alike = [pictured(one, f"{one.similarity or 0:.2f} alike", mark=True) for one in found.alike]
    others = sum(one.other for one in alike)
    note = (
        f"{others} of {len(alike)} have another label than {found.given}: they are marked." if others else ""
    )
    return [*strips, Strip("Looks most like", alike, note)]


def _charts(found: Explained) -> list[Chart]:
    if not found.predictions:
        return []
    pairs = [
        Bar(
            f"{one.pair} {one.half}",
            one.predicted,
            one.probability,
            [_percent(one.probability), _percent(one.probability_given)],
            against=one.predicted != found.given,
        )
        for one in found.predictions
    ]
    charts = [
        Chart(
            "What each pair says",
            ["pair", "says", "", "sure", "for the label"],
            pairs,
            "Each by the model of the pair that never saw the image.",
        )
    ]
    if found.classes:
        classes = [
            Bar(
                "",
                one.label,
                one.probability,
                [_percent(one.probability), str(one.votes or "")],
                against=one.label != found.given,
            )
            for one in found.classes
        ]
        charts.append(Chart("All pairs together", ["class", "", "mean", "votes"], classes))
    return charts


def _tables(found: Explained) -> list[Listed]:
    history = [
        [
            str(one.round),
            _clock(one.at),
            one.who,
            decision_words(*(one.previous or "open").partition(" ")[::2]),
            decision_words(one.verdict, one.label),
            _clock(one.undone),
        ]
        for one in found.history
    ]
    earlier = [
        [
            str(one.round),
            one.given,
            one.suggested,
            f"{one.votes} of {one.predictions}",
            f"{one.score:.2f}",
            verdict_words(one),
        ]
        for one in found.earlier
    ]
    return [
        Listed("What was decided", ["round", "when", "who", "from", "to", "undone"], history),
        Listed("Earlier rounds", ["round", "label", "models said", "votes", "score", "verdict"], earlier),
    ]


def _large(session: Session, path: str, digest: str) -> tuple[Thumbnail | None, str]:
    """The image, or why it is not shown."""
    try:
        content = real_path(session.dataset, path).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            return None, "The file holds another image now."
        return large(content, side_px=LARGE_PX, max_pixels=session.settings.max_pixels), ""
    except FileNotFoundError:
        return None, "The file is gone."
    except OSError as error:
        return None, f"It cannot be read: {error.strerror or error}."
    except ImageError as error:
        return None, f"It cannot be shown: {error.message}."


def _percent(share: float | None) -> str:
    """As in "84 %", "<1 %"."""
    if share is None:
        return ""
    if 0 < share < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= share < 1 else f"{share:.0%}"[:-1] + " %"


def _clock(stamp: str | None) -> str:
    try:
        return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M}" if stamp else ""
    except ValueError:
        return stamp or ""
