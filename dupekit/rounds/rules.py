"""What makes a suspect: the two rules, and their defaults.

The choice itself, over millions of tallies, is one query, which says what `Rule.flags` says: `dupekit.ledger.tallies.suspects`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RuleName(StrEnum):
    """By what an image is a suspect."""

    VOTES = "votes"
    """At least so many of the pairs voted for one wrong class: the original protocol."""
    SCORE = "score"
    """The models together prefer another class: the score is above 0."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which images are suspects."""

    name: RuleName
    threshold: int
    """Votes that make a dupe; the rule `score` does not ask for it."""

    @property
    def other(self) -> Rule:
        return Rule(RuleName.SCORE if self.name is RuleName.VOTES else RuleName.VOTES, self.threshold)

    @overload
    def flags(self, votes: int, score: float, contradicted: bool) -> bool: ...
    @overload
    def flags(
        self, votes: NDArray[Any], score: NDArray[Any], contradicted: NDArray[np.bool_]
    ) -> NDArray[np.bool_]: ...
    def flags(self, votes: Any, score: Any, contradicted: Any) -> Any:
        """Whether an image of so many votes and this score is a suspect; of arrays, element by element.

        One that is contradicted by an identical image with another label is one by either rule.
        """
        return (votes >= self.threshold if self.name is RuleName.VOTES else score > 0) | contradicted


@dataclass(frozen=True, slots=True)
class Suspect:
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
    contradicted: bool = False
    """An identical image has another label, so one of the two is wrong, whatever the models say. The suggested label is the
    other's."""


def default_threshold(pairs_planned: int) -> int:
    """Votes that make a dupe where the user names no number: four in five, so 8 of 10, and at least 1."""
    return max(1, math.ceil(pairs_planned * 4 / 5))


@dataclass(frozen=True, slots=True)
class ClassPair:
    """How many suspects have this given and this suggested label."""

    given: str
    suggested: str
    suspects: int


def by_class_pair(suspects: Iterable[Suspect]) -> list[ClassPair]:
    """The most frequent pairs first."""
    counts = Counter((one.given, one.suggested) for one in suspects)
    return [ClassPair(*pair, n) for pair, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
