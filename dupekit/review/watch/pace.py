"""Reviews of a tree, one after the other -> how far the technician is, how fast, and what was done last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, replace

from dupekit.review.tree_paths import top
from dupekit.review.verdicts import FileVerdict, Review, Verdict

PAUSE_S = 600.0
"""A longer time without a change is a pause: neither it nor the images at its end count for the pace."""
LEAST_S = 60.0
"""Working time from which on a pace is told."""


@dataclass(frozen=True, slots=True)
class Count:
    """Of one class, or of all."""

    done: int = 0
    """Finished, and wrong."""
    right: int = 0
    expunge: int = 0
    unsure: int = 0
    open: int = 0

    @property
    def exported(self) -> int:
        return self.reviewed + self.open

    @property
    def reviewed(self) -> int:
        return self.done + self.right + self.expunge + self.unsure


@dataclass(frozen=True, slots=True)
class Headway:
    """How far a review is. The counts are the tree's; the pace begins anew with each watcher."""

    review: Review = field(repr=False, compare=False)
    by_class: dict[str, Count]
    """Given label -> count, sorted."""
    all: Count
    action: str | None
    """What was done last, in words: a hint, for of what happened at once only the outcome is seen."""
    in_work: str | None
    """The class in which that was."""
    changed_s: float | None
    """When the number reviewed last changed, in seconds of any clock; None before the first time."""
    paced: int
    """Images reviewed in `worked_s`; images put back are taken off."""
    worked_s: float
    """Working time, without pauses."""

    @property
    def per_hour(self) -> float | None:
        """Images an hour of working time; None while that cannot be told."""
        if self.worked_s < LEAST_S or self.paced <= 0:
            return None
        return self.paced * 3600 / self.worked_s

    @property
    def left_s(self) -> float | None:
        """Working time for what is open, at this pace; None while that cannot be told."""
        return self.all.open * 3600 / self.per_hour if self.per_hour else None


def headway(before: Headway | None, review: Review, at_s: float) -> Headway:
    """The headway after a review that was made at `at_s`, given the one before it (None for the first)."""
    by_class: dict[str, Counter[Verdict]] = {}
    for v in review.verdicts:
        by_class.setdefault(v.file.given, Counter())[v.verdict] += 1
    counts = {label: _count(by_class[label]) for label in sorted(by_class)}
    everything = total(counts.values())
    if before is None:
        return Headway(review, counts, everything, None, None, None, 0, 0.0)
    reached = replace(before, review=review, by_class=counts, all=everything)
    if moved := [
        (a, b) for a, b in zip(before.review.verdicts, review.verdicts, strict=True) if a.now_at != b.now_at
    ]:
        reached = replace(reached, action=_action(moved), in_work=moved[-1][1].file.given)
    step = everything.reviewed - before.all.reviewed
    if not step:
        return reached
    gap_s = None if before.changed_s is None else at_s - before.changed_s
    if gap_s is not None and 0 <= gap_s <= PAUSE_S:
        reached = replace(reached, paced=before.paced + step, worked_s=before.worked_s + gap_s)
    return replace(reached, changed_s=at_s)


def total(counts: Iterable[Count]) -> Count:
    return Count(*map(sum, zip(*map(astuple, counts), strict=True)))


def _count(verdicts: Counter[Verdict]) -> Count:
    return Count(
        done=verdicts[Verdict.RELABEL],
        right=verdicts[Verdict.CORRECT],
        expunge=verdicts[Verdict.EXPUNGE],
        unsure=verdicts[Verdict.UNSURE],
        open=verdicts[Verdict.OPEN],
    )


def _action(moved: list[tuple[FileVerdict, FileVerdict]]) -> str:
    """As in "a/1.png moved to _done" and "12 files of a deleted"."""
    if len(moved) == 1:
        ((was, _),) = moved
        what = was.now_at or was.file.path
    else:
        classes = {then.file.given for then, _ in moved}
        of = f"of {classes.pop()}" if len(classes) == 1 else f"of {len(classes)} classes"
        what = f"{len(moved)} files {of}"
    if all(_folder(then.now_at) == _folder(now.now_at) for then, now in moved):
        return f"{what} renamed"
    targets = {_folder(now.now_at) for _, now in moved}
    if targets == {None}:
        return f"{what} deleted"
    did = "put back" if all(then.now_at is None for then, _ in moved) else "moved"
    return f"{what} {did}" + ("" if len(targets) > 1 else f" to {targets.pop()}")


def _folder(path: str | None) -> str | None:
    return None if path is None else top(path) or "the top"
