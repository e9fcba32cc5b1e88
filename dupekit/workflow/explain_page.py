"""The page of one image: what is known of it in words, and its pictures."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from dupekit.files.names import escape
from dupekit.files.paths import real_path
from dupekit.ledger import rounds
from dupekit.ledger.one_image import Counted
from dupekit.pictures.explain import Bar, Chart, ExplainPage, Fact, Listed, Shown, Strip, explain_page
from dupekit.pictures.gallery import Gallery, Picture
from dupekit.pictures.thumbnails import Thumbnail
from dupekit.rounds.in_words import percent
from dupekit.rounds.references import Reference
from dupekit.system import stamp
from dupekit.workflow.explain import Explained, Explanation, decision_words, models_say, verdict_words
from dupekit.workflow.last_round import dataset_of
from dupekit.workflow.page_place import page_place, write_page
from dupekit.workflow.references import References
from dupekit.workflow.session import Session

TYPICAL = 7
"""So many images of each of the two classes."""
LARGE_PX, SMALL_PX = 1200, 160


def write_explain_page(session: Session, found: Explanation, place: Path) -> None:
    """Raises UsageError where a page must not be written there."""
    page = explain_page(_page(session, found)).encode()
    write_page(page_place(session, place, default=place), lambda out: out.write(page))


def _page(session: Session, explanation: Explanation) -> ExplainPage:
    found = explanation.explained
    gallery = _of_round(session, found)
    image = _large(session, found, gallery)
    return ExplainPage(
        path=found.image.path,
        image=image if isinstance(image, Thumbnail) else None,
        missing=image if isinstance(image, str) else "",
        verdict=_verdict(found.counted),
        verdict_words=verdict_words(found.counted),
        facts=_facts(session, found),
        strips=_strips(gallery, found, explanation.references),
        charts=_charts(found),
        tables=_tables(found),
        version=metadata.version("dupekit"),
    )


def _of_round(session: Session, found: Explained) -> Gallery:
    """Where the round's images lie."""
    latest = rounds.get(session.ledger, found.round) if found.round else None
    return Gallery(dataset_of(session, latest) if latest else session.dataset, session.settings.max_pixels)


def _verdict(counted: Counted | None) -> str:
    return counted.verdict if counted and counted.verdict else "open"


def _facts(session: Session, found: Explained) -> list[Fact]:
    counted = found.counted
    as_another = found.trained_as.of(found.given) if found.trained_as else ""
    facts = [Fact("Now in", found.given, as_another)]
    if counted:
        facts += [
            Fact("The models say", *models_say(counted)),
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
    for name, twins in (("Identical image", found.copies), ("Nearly the same", found.near)):
        for one in twins:
            other = "the same class" if one.label == found.given else f"another class: {one.label}"
            facts.append(Fact(name, one.path, other))
    return [*facts, Fact("File", escape(str(real_path(session.dataset, found.image.path))))]


def _strips(gallery: Gallery, found: Explained, known: References | None) -> list[Strip]:
    """Typical images of both classes, and look-alikes."""
    if known is None:
        return []
    labels = [found.given, *([found.counted.suggested] if found.counted else [])]
    beside = {label: known.beside(found.image.number, label, TYPICAL) for label in labels}
    shown = [one for some in (*beside.values(), found.alike) for one in some]
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
            stamp.in_words(one.at),
            one.who,
            decision_words(*(one.previous or "open").partition(" ")[::2]),
            decision_words(one.verdict, one.label),
            stamp.in_words(one.undone) if one.undone else "",
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


def _large(session: Session, found: Explained, gallery: Gallery) -> Thumbnail | str:
    """The image, or why it is not shown; of a round that has ended also as it lay there."""
    picture = Picture(found.image.path, found.image.digest)
    own = Gallery(session.dataset, session.settings.max_pixels).large(picture, side_px=LARGE_PX)
    if isinstance(own, str) and gallery.dataset != session.dataset:
        then = gallery.large(picture, side_px=LARGE_PX)
        return own if isinstance(then, str) else then
    return own


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share)
