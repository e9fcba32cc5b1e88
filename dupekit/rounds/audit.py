"""The draw of an audit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """An audit; arrays of shape (n,), in a random order."""

    rows: NDArray[np.int64]
    """Into the scores it was drawn from."""
    stratum: NDArray[np.int64]
    """0 holds the highest scores."""
    population: NDArray[np.int64]
    """How many images the stratum has: population / (drawn of the stratum) is an image's weight."""


def draw_audit(scores: NDArray[np.float64], n: int, *, seed: int) -> Drawn:
    """Draws `n` images at random from those that are no suspects, given their scores, stratified by score.

    The least suspicious half is a stratum, the quarter above it another, and so on, to two sixteenths; all are drawn from
    alike, as far as they reach: errors are rare far down, and near the suspects they are not. Equal scores are shared out by
    chance. Raises UsageError where there are fewer than `n`.
    """
    if n > len(scores):
        raise UsageError(
            f"An audit of {n} images is more than there is: {len(scores)} images are neither suspects nor decided.",
            hint=f"Ask for at most {len(scores)}.",
        )
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(scores)), -scores))
    strata = np.split(order, [len(scores) // part for part in (16, 8, 4, 2)])
    rows = np.zeros(0, np.int64)
    stratum = np.zeros(0, np.int64)
    for number, images in enumerate(strata):
        share = math.ceil((n - len(rows)) / (len(strata) - number))
        taken = rng.choice(
            images, min(share, len(images)), replace=False
        )  # no stratum is larger than the next
        rows = np.append(rows, taken)
        stratum = np.append(stratum, np.full(len(taken), number))
    population = np.array([len(images) for images in strata])[stratum]
    shuffled = rng.permutation(n)
    return Drawn(rows[shuffled], stratum[shuffled], population[shuffled])
