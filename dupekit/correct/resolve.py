"""Decisions of a review -> which files of the dataset as it is now they change, and which change none, and why.

A decision is on a content under a given label, as an entry of the ignore list is: names and places do not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dupekit.correct.placements import Correction

Reason = Literal[
    "gone", "content changed", "label changed", "unreadable", "decisions disagree", "done by hand"
]


@dataclass(frozen=True, slots=True)
class Decision:
    """What counts for an image of the round, and what has become of its file."""

    image: int
    path: str
    label: str
    """Given label."""
    new_label: str | None
    """None: expunged. The given label: nothing changes."""
    votes: int
    score: float
    decided: str
    """UTC, ISO 8601."""
    digest: str
    """Of the content that was decided on."""
    there: Literal["gone", "content changed", "unreadable"]
    """What is true of the file at this path, if it does not hold this content any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file of the dataset that holds a content that was decided on."""

    image: int
    path: str
    label: str
    digest: str
    of_round: bool
    """Whether it held this content already when the round began."""


@dataclass(frozen=True, slots=True)
class Unapplied:
    """A decision that changes no file of the dataset."""

    path: str
    """Of the image when it was decided on."""
    old_label: str
    new_label: str | None
    """None: expunged."""
    reason: Reason
    now_at: str | None
    """Where its content lies now; None where it does nowhere."""

    @property
    def pending(self) -> bool:
        """Whether the dataset is not as was decided: nobody did by hand what `apply` cannot do."""
        return self.reason != "done by hand"

    def __str__(self) -> str:
        if self.reason == "label changed" and self.now_at:
            return f"label changed by hand to {self.now_at.partition('/')[0]} ({self.now_at})"
        return f"{self.reason} ({self.now_at})" if self.now_at else self.reason


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a round's decisions come to; both by path."""

    corrections: list[Correction]
    unapplied: list[Unapplied]
    """Those that change nothing."""


def resolve(decisions: Sequence[Decision], held: Sequence[Held]) -> Resolution:
    """The corrections, and the decisions that are none.

    A file gets the decision on itself while it holds what was decided on; else that on an image of its content
    and given label whose file is not there any more, for it was renamed, or moved within its class; else, as a
    copy, that on such an image. Where those disagree, it gets none.
    """
    own = {decision.image: decision for decision in decisions}
    of_content: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    for decision in decisions:
        of_content[decision.digest, decision.label].append(decision)
    files: dict[tuple[str, str], list[Held]] = defaultdict(list)
    elsewhere: dict[str, list[Held]] = defaultdict(list)
    for file in sorted(held, key=lambda file: file.path):
        files[file.digest, file.label].append(file)
        elsewhere[file.digest].append(file)
    corrections: list[Correction] = []
    unapplied: list[Unapplied] = []
    for key, those in of_content.items():
        numbers = {decision.image for decision in those}  # a file that took another's name is not that image
        in_place = {file.image for file in files[key]} & numbers
        corrections += [_correction(own[f.image], f) for f in files[key] if f.image in in_place]
        others = [file for file in files[key] if file.image not in in_place]
        homeless = [decision for decision in those if decision.image not in in_place]
        told = homeless or those
        agreed = len({decision.new_label for decision in told}) == 1
        if agreed:
            corrections += [_correction(told[0], file) for file in others]
        if not (others and agreed):
            lost = [decision for decision in homeless if decision.new_label != decision.label]
            unapplied += [_unapplied(decision, others, elsewhere[decision.digest]) for decision in lost]
    made = [correction for correction in corrections if correction.new_label != correction.old_label]
    return Resolution(sorted(made, key=lambda c: c.path), sorted(unapplied, key=lambda one: one.path))


def _correction(decision: Decision, file: Held) -> Correction:
    return Correction(
        image=file.image,
        path=file.path,
        old_label=file.label,
        new_label=decision.new_label,
        votes=decision.votes,
        score=decision.score,
        decided=decision.decided,
        digest=decision.digest,
        decided_on=decision.path,
    )


def _unapplied(decision: Decision, same_label: Sequence[Held], held: Sequence[Held]) -> Unapplied:
    def made(reason: Reason, now_at: str | None = None) -> Unapplied:
        return Unapplied(decision.path, decision.label, decision.new_label, reason, now_at)

    if same_label:
        return made("decisions disagree", same_label[0].path)
    # What lay under another label all along is another image, not this one moved by hand.
    moved = [file for file in held if file.label != decision.label and not file.of_round]
    moved.sort(key=lambda file: file.label != decision.new_label)
    if moved:
        return made(
            "done by hand" if moved[0].label == decision.new_label else "label changed", moved[0].path
        )
    if decision.there == "gone" and not decision.new_label:
        return made("done by hand")
    return made(decision.there)
