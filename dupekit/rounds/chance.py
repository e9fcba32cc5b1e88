"""Chance: whether models that agree with given labels have learnt anything."""

from __future__ import annotations

NEAR = 0.1
"""So much of the way from chance to full agreement is nothing learnt."""


def near_chance(agreement: float, chance: float) -> bool:
    """Whether models whose predictions agree with this share of the labels have learnt next to nothing, where guessing
    would agree with `chance` of them: a tenth at most of what there is above it."""
    return agreement - chance <= NEAR * (1 - chance)
