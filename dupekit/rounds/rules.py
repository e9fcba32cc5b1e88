"""Votes, rule, ignore list -> dupes: what a dupe is, and the rule's default.

The choice itself, over millions of tallies, is one query: `dupekit.ledger.tallies.dupes`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dupe:
    """A flagged image. Paths and labels are escaped text."""

    image: int
    """Its number in the ledger."""
    path: str
    digest: str
    given: str
    suggested: str
    votes: int
    score: float
    probability_given: float
    """Mean over the round's predictions of the image."""
    probability_suggested: float


def default_threshold(pairs_planned: int) -> int:
    """Votes that make a dupe where the user names no number: four in five, so 8 of 10, and at least 1."""
    return max(1, math.ceil(pairs_planned * 4 / 5))


@dataclass(frozen=True, slots=True)
class ClassPair:
    """How many dupes have this given and this suggested label."""

    given: str
    suggested: str
    dupes: int


def by_class_pair(dupes: Iterable[Dupe]) -> list[ClassPair]:
    """The most frequent pairs first."""
    counts = Counter((dupe.given, dupe.suggested) for dupe in dupes)
    return [ClassPair(*pair, n) for pair, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
