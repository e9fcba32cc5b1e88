"""Explain: all that is known of one image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import JobError
from dupekit.files.names import unescape
from dupekit.files.paths import absolute, real_path
from dupekit.jobs.files import Half, run_name
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import one_image, rounds, steps
from dupekit.ledger.exports import Purpose
from dupekit.ledger.images import ImageState
from dupekit.ledger.one_image import Copy, Counted, ImageRow, RunSays
from dupekit.ledger.rounds import Round
from dupekit.ledger.steps import Change
from dupekit.review.verdicts import Verdict
from dupekit.rounds.class_view import TrainedAs, seen_as, trained_as
from dupekit.rounds.in_words import percent
from dupekit.rounds.near_duplicates import Twin
from dupekit.rounds.references import Reference
from dupekit.rounds.rules import Rule, RuleName
from dupekit.workflow.find_image import find_image
from dupekit.workflow.flag import rule_of
from dupekit.workflow.groups import twins
from dupekit.workflow.references import References, references
from dupekit.workflow.session import Session

CLASSES, LIKELY, ALIKE = 8, 0.005, 14
"""At most so many classes are listed, as far as they are so probable; and so many look-alikes."""


class Standing(StrEnum):
    """Whether an image is a suspect, and if not, why."""

    SUSPECT = "suspect"
    BY_RULE = "no suspect"
    IGNORED = "on the ignore list"
    CHANGED = "gone or changed"
    NOT_COUNTED = "not counted"


@dataclass(frozen=True, slots=True)
class PairSays:
    """What the pair's model that never saw the image says of it."""

    pair: int
    half: Half
    """Which of the two predicted it: 'a' trained on the first half of the images, 'b' on the second."""
    predicted: str
    probability: float
    probability_given: float
    counted: bool
    """Whether the pair is complete, so that its votes count."""


@dataclass(frozen=True, slots=True)
class ClassSays:
    """A class, over all pairs that count."""

    label: str
    probability: float | None
    """Mean; None where the runs' own files are lost and the ledger does not know it."""
    votes: int


@dataclass(frozen=True, slots=True)
class InTree:
    """A review tree that is out and holds the image."""

    tree: str
    """Absolute, escaped."""
    path: str
    """In the tree, as it was exported: escaped."""
    created: str
    purpose: Purpose
    there: bool
    """Whether a file lies there now: it may have been moved or deleted."""


@dataclass(frozen=True, slots=True)
class Explained:
    """All that is known of one image. Paths and labels are escaped text."""

    image: ImageRow
    round: int | None
    """The last one; None before the first."""
    pairs: int
    """Complete ones."""
    counted: Counted | None
    """In that round; None where the image was not counted in it."""
    trained_as: TrainedAs | None
    """What the round's class view made of its class; None: nothing."""
    rank: int | None
    """Among all images of the round, 1 for the most suspicious."""
    images: int
    """That the round counted."""
    standing: Standing
    why: str
    """In a sentence."""
    predictions: list[PairSays]
    classes: list[ClassSays]
    """The most probable, and all with votes."""
    alike: list[Reference]
    """The nearest in the features; none where there are no features."""
    copies: list[Copy]
    near: list[Twin]
    """Images of the round that are nearly the same, and were kept in its half."""
    earlier: list[Counted]
    """Of earlier rounds, the first one first."""
    history: list[Change]
    trees: list[InTree]

    @property
    def given(self) -> str:
        """Label that was counted as given, else that of its folder."""
        return self.counted.given if self.counted else self.image.label


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What a page of it needs as well."""

    explained: Explained
    references: References | None
    """Of the last round; None before the first."""


def explain(session: Session, named: str) -> Explanation:
    """All that is known of an image, see `find_image`; reads only, also while another process trains."""
    ledger = session.ledger
    image = find_image(session, named)
    latest = rounds.latest(ledger)
    counts = one_image.counted(ledger, image.number)
    counted = next((one for one in counts if latest and one.round == latest.number), None)
    complete = set(rounds.complete_pairs(ledger, latest.number)) if latest else set()
    says = one_image.predictions(ledger, image.number, latest.number) if latest else []
    found = references(session, latest.number) if latest else None
    view = rounds.view_of(latest) if latest else None
    standing, why = _standing(session, image, latest, counted)
    explained = Explained(
        image=image,
        round=latest.number if latest else None,
        pairs=len(complete),
        counted=counted,
        trained_as=seen_as(view, counted.given) if counted else None,
        rank=one_image.rank(ledger, counted, image.path) if counted else None,
        images=one_image.of_round(ledger, latest.number) if latest else 0,
        standing=standing,
        why=why,
        predictions=[
            PairSays(
                one.pair,
                one.half,
                one.predicted,
                one.probability,
                one.probability_given,
                one.pair in complete,
            )
            for one in says
        ],
        classes=_classes(session, image, counted, [one for one in says if one.pair in complete]),
        alike=found.alike(image.number, ALIKE) if found else [],
        copies=one_image.copies(ledger, image),
        near=_near(session, latest, image),
        earlier=[one for one in counts if one is not counted],
        history=steps.changes(ledger, image.path),
        trees=_trees(session, image),
    )
    return Explanation(explained, found)


def models_say(counted: Counted) -> tuple[str, str]:
    """The class that they name, and how sure they are: the given one where they doubt it less than the one suggested."""
    votes = f"{counted.votes} of {counted.predictions} {'vote' if counted.predictions == 1 else 'votes'}"
    given, suggested = percent(counted.probability_given), percent(counted.probability_suggested)
    if counted.score > 0 or 2 * counted.votes > counted.predictions:
        return counted.suggested, f"{votes}, {suggested} sure; {given} for {counted.given}"
    return counted.given, f"{given} sure; next comes {counted.suggested}: {votes}, {suggested}"


def verdict_words(counted: Counted | None) -> str:
    """What was decided, as people say it."""
    if counted is None or counted.verdict is None:
        return "open"
    if counted.disputed:
        return "unsure: two people differ"
    if counted.verdict is Verdict.RELABEL and counted.label == counted.suggested:
        return "suggestion right"
    return decision_words(counted.verdict, counted.label or "")


def decision_words(verdict: str, label: str) -> str:
    """Of a verdict, and the label that the image shall have."""
    words = {"correct": "label right", "relabel": f"moved to {label}", "expunge": "thrown out"}
    return words.get(verdict, verdict)


def _standing(
    session: Session, image: ImageRow, latest: Round | None, counted: Counted | None
) -> tuple[Standing, str]:
    if image.state is ImageState.PROBLEM:
        return Standing.NOT_COUNTED, f"It cannot be used: {image.problem}."
    if latest is None:
        return Standing.NOT_COUNTED, "No round has been begun yet."
    if counted is None:
        return Standing.NOT_COUNTED, _why_not_counted(image, latest)
    if image.state is ImageState.GONE or image.digest != counted.digest:
        how = "is gone" if image.state is ImageState.GONE else "changed"
        return Standing.CHANGED, f"Its file {how} since the round was trained, so it is no suspect."
    rule = rule_of(latest, session.settings)
    flagged = rule.flags(counted.votes, counted.score, counted.contradicted)
    said = _by_rule(rule, counted, flagged)
    if flagged and one_image.is_ignored(session.ledger, counted.digest, counted.given):
        return Standing.IGNORED, f"{said}, but it is on the ignore list: confirmed as {counted.given}."
    return (Standing.SUSPECT if flagged else Standing.BY_RULE), f"{said}."


def _why_not_counted(image: ImageRow, latest: Round) -> str:
    if image.state is ImageState.GONE:
        return f"Its file is gone, and it is no image of round {latest.number}."
    if not latest.tallied_pairs:
        return f"No pair of round {latest.number} is counted yet."
    view = rounds.view_of(latest)
    if view and trained_as(view, image.label) is None:
        return f"It is no image of round {latest.number}, whose class view leaves {image.label} out."
    return f"It is no image of round {latest.number}: it came later, or its class has too few images."


def _by_rule(rule: Rule, counted: Counted, flagged: bool) -> str:
    if counted.contradicted:
        return (
            "An identical image lies in another class: one of the two labels is wrong, which makes a suspect"
        )
    makes = f"which makes {'a' if flagged else 'no'} suspect"
    if rule.name is RuleName.SCORE:
        return f"Its score is {'above 0' if flagged else 'not above 0'}, {makes}"
    return f"It has {counted.votes} votes for one class, {makes}: the threshold is {rule.threshold}"


def _classes(
    session: Session, image: ImageRow, counted: Counted | None, says: list[RunSays]
) -> list[ClassSays]:
    """Means of the runs' whole rows; where one cannot be read, what the ledger holds."""
    if counted is None or not says:
        return []
    votes: dict[str, int] = {}
    for one in says:
        if one.predicted != counted.given:
            votes[one.predicted] = votes.get(one.predicted, 0) + 1
    means = _means(session.folder(counted.round), image.number, counted.given, says)
    if means is None:
        means = dict.fromkeys(votes)
        means |= {counted.given: counted.probability_given, counted.suggested: counted.probability_suggested}
    found = [ClassSays(label, mean, votes.get(label, 0)) for label, mean in means.items()]
    found.sort(key=lambda one: (-(one.probability or 0), -one.votes, one.label))
    of_both = (counted.given, counted.suggested)
    likely = [one for one in found[:CLASSES] if (one.probability or 0) >= LIKELY]
    return [one for one in found if one in likely or one.votes or one.label in of_both]


def _means(
    folder: RoundFolder, image: int, given: str, says: list[RunSays]
) -> dict[str, float | None] | None:
    """By the dataset's own classes: of each that is trained the one that is meant, of its own the given one."""
    total: NDArray[np.float64] | None = None
    try:
        of_round = folder.of_round
        classes = [*of_round.meant]
        classes[of_round.labels[of_round.row(image)]] = given
        for one in says:
            with PredictionReader(folder.path / "runs" / run_name(one.pair, one.half)) as reader:
                row = reader.of(image)
            if row is None or len(row) != len(classes):
                return None
            total = row.astype(np.float64) + (0 if total is None else total)
    except (JobError, ValueError):  # its file may be of other images
        return None
    return None if total is None else dict(zip(classes, (total / len(says)).tolist(), strict=True))


def _near(session: Session, latest: Round | None, image: ImageRow) -> list[Twin]:
    found = twins(session.folder(latest.number), [image.number]) if latest else {}
    return [one for one in found.get(image.number, []) if not one.identical]


def _trees(session: Session, image: ImageRow) -> list[InTree]:
    found = []
    for one in one_image.out_in(session.ledger, image.number):
        tree = absolute(session.root / Path(unescape(one.tree)))
        there = real_path(tree, one.path).is_file()
        found.append(InTree(one.tree, one.path, one.created, one.purpose, there))
    return found
