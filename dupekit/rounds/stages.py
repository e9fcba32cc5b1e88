"""Stages: which pairs are trained together, and how far the second stage trusts each label.

Pairs of the second stage are trained with weights: an image counts as far as the first stage's models, which never saw it,
held its label for right. All pairs count alike in votes and scores.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from dupekit.rounds.stability import LEAST_PAIRS

TOGETHER = 2
"""Pairs between two looks at whether the list is stable: each look costs a count, and pairs that are trained together share
what is expensive."""


def first_stage_of(pairs: int) -> int:
    """How many of so many pairs are the first stage: half of them, the larger half."""
    return (pairs + 1) // 2


def weights(score: NDArray[np.floating]) -> NDArray[np.float32]:
    """How much each image counts, shape (n,), from 0 to 1: the logistic function of minus its score, so 1/2 where the models
    hold label and best other class for equally probable."""
    found: NDArray[np.float32] = (1 / (1 + np.exp(score.astype(np.float64)))).astype(np.float32)
    return found


def batches(pairs: list[int], *, begun: int, first_stage: int | None, until_stable: bool) -> list[list[int]]:
    """Pairs that are to be trained, ascending -> those that are trained together, in order.

    No batch has pairs of both stages. With `until_stable` the list can be looked at between any two: the first batch goes up
    to the pair `begun`, the last one of which there is a run, and is large enough for a first look.
    """
    ends = [first_stage] if first_stage is not None else []
    if until_stable and pairs:
        least = max(LEAST_PAIRS, begun, (first_stage or 0) + TOGETHER)
        ends += range(least, pairs[-1], TOGETHER)
    return [list(some) for _, some in groupby(pairs, key=lambda pair: bisect_left(ends, pair))]
