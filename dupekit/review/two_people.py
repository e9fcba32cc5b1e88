"""How far two people agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TwoPeople:
    """Of two people's decisions on the same images."""

    images: int
    """That both decided."""
    agreed: int
    share: float | None
    """None where there is no such image."""
    kappa: float | None
    """Cohen's: 1 is complete agreement, 0 what chance alone gives. None where it is undefined: no image, or both said
    one and the same of all."""


def compared(pairs: Sequence[tuple[str, str]]) -> TwoPeople:
    """Agreement of two people, given for each image what the one and the other chose.

    Kappa as in J. Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20
    (1960), 37-46: the share of agreement beyond that expected of two who choose each as often, but by chance.
    """
    n = len(pairs)
    agreed = sum(one == other for one, other in pairs)
    if not n:
        return TwoPeople(0, 0, None, None)
    ones, others = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    by_chance = sum(count * others[chosen] for chosen, count in ones.items())  # times n squared, so exact
    kappa = (n * agreed - by_chance) / (n * n - by_chance) if by_chance < n * n else None
    return TwoPeople(n, agreed, agreed / n, kappa)
