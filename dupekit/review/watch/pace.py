"""Reviews of a tree, one after the other -> how far the technician is, and how fast.

Only what was deleted or moved can be counted. A file that is left where it is, is either still to be looked
at or found wrong: nothing on disk tells the two apart, so the time left is at most what is said here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dupekit.review.verdicts import FileVerdict, Review

PAUSE_S = 600.0
"""A longer time without a change is a pause: neither it nor the images at its end count for the pace."""
LEAST_S = 60.0
"""Working time from which on a pace is told."""


@dataclass(frozen=True, slots=True)
class Count:
    """Of one class, or of all."""

    exported: int
    deleted: int
    moved: int

    @property
    def reviewed(self) -> int:
        return self.deleted + self.moved

    @property
    def left(self) -> int:
        return self.exported - self.reviewed


@dataclass(frozen=True, slots=True)
class Headway:
    """How far a review is. The counts are the tree's; the pace begins anew with each watcher."""

    by_class: dict[str, Count]
    """Given label -> count, sorted."""
    all: Count
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
        """Working time for what is left, at this pace; None while that cannot be told."""
        return self.all.left * 3600 / self.per_hour if self.per_hour else None


def headway(before: Headway | None, review: Review, at_s: float) -> Headway:
    """The headway after a review that was made at `at_s`, given the one before it (None for the first)."""
    states: dict[str, Counter[str]] = {}
    for verdict in review.verdicts:
        states.setdefault(verdict.file.given, Counter())[_state(verdict)] += 1
    by_class = {
        label: Count(counts.total(), counts["deleted"], counts["moved"])
        for label, counts in sorted(states.items())
    }
    everything = Count(
        len(review.verdicts),
        sum(count.deleted for count in by_class.values()),
        sum(count.moved for count in by_class.values()),
    )
    if before is None:
        return Headway(by_class, everything, None, 0, 0.0)
    step = everything.reviewed - before.all.reviewed
    if not step:
        return Headway(by_class, everything, before.changed_s, before.paced, before.worked_s)
    gap_s = None if before.changed_s is None else at_s - before.changed_s
    if gap_s is None or not 0 <= gap_s <= PAUSE_S:
        return Headway(by_class, everything, at_s, before.paced, before.worked_s)
    return Headway(by_class, everything, at_s, before.paced + step, before.worked_s + gap_s)


def _state(verdict: FileVerdict) -> str:
    if verdict.now_at is None:
        return "deleted"
    return "left" if verdict.in_its_class else "moved"
