"""Chance: whether models that agree with given labels have learnt anything, or agree more than a model can that never saw them."""

from __future__ import annotations

from math import sqrt

NEAR = 0.1
"""So much of the way from chance to full agreement is nothing learnt."""
TOO_GOOD = 0.99
"""Models that never saw an image agree with fewer of the labels: a dataset worth reviewing has errors, and doubtful images."""


def near_chance(agreement: float, chance: float) -> bool:
    """Whether models whose predictions agree with this share of the labels have learnt next to nothing, where guessing
    would agree with `chance` of them: a tenth at most of what there is above it."""
    return agreement - chance <= NEAR * (1 - chance)


def too_good(agreeing: int, predictions: int) -> bool:
    """Whether more than TOO_GOOD of all predictions like these would agree, for sure: by the lower end of Wilson's 95 %
    interval (Wilson, 1927, https://doi.org/10.2307/2276774). So few predictions, under 381, are never too good."""
    if not predictions:
        return False
    share, z = agreeing / predictions, 1.96
    middle = share + z * z / (2 * predictions)
    spread = z * sqrt(share * (1 - share) / predictions + z * z / (4 * predictions**2))
    return (middle - spread) / (1 + z * z / predictions) > TOO_GOOD
