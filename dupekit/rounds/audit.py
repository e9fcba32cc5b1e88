"""The draw of an audit: images that are no suspects, stratified by their score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRATA = 4


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Arrays of shape (n,), in a random order."""

    rows: NDArray[np.int64]
    """Which of the scores."""
    stratum: NDArray[np.int64]
    population: NDArray[np.int64]
    """How many scores lie in the stratum that each was drawn from."""


def draw_audit(scores: NDArray[np.float64], number: int, *, seed: int) -> Drawn:
    """Draws so many rows without replacement, or all where there are no more.

    The nearer a score is to those of suspects, the more likely the label is wrong: so each stratum, from the highest scores
    down, holds three times as many images as the one before, and as many are drawn from each as it has, and the others leave.
    """
    rng = np.random.default_rng(seed)
    ranked = np.argsort(-scores, kind="stable")
    shares = 3.0 ** np.arange(STRATA)
    edges = np.round(np.cumsum(shares) / shares.sum() * len(ranked)).astype(int)
    strata = np.split(ranked, edges[:-1])
    rows, numbers, populations = [], [], []
    left = min(number, len(ranked))
    for at, stratum in enumerate(strata):
        later = STRATA - at
        # At least what the larger strata after it cannot take.
        taken = max(-(-left // later), left - sum(map(len, strata[at + 1 :])))
        taken = min(taken, len(stratum), left)
        rows.append(rng.choice(stratum, taken, replace=False))
        numbers.append(np.full(taken, at))
        populations.append(np.full(taken, len(stratum)))
        left -= taken
    order = rng.permutation(sum(map(len, rows)))
    return Drawn(*(np.concatenate(parts).astype(np.int64)[order] for parts in (rows, numbers, populations)))
