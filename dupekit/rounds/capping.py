"""A cap on the images of a class that one training gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dupekit.rounds.split import seed_for

_CAP = 2
"""What the seed is drawn for: the training's own numbers are others."""


def capped(labels: NDArray[np.integer], most: int, *, seed: int) -> NDArray[np.intp]:
    """Draws at most `most` images of each class, all alike probable; returns their positions, ascending."""
    drawn = np.random.default_rng(seed_for(seed, _CAP)).random(len(labels))
    order = np.lexsort((drawn, labels))
    sizes = np.bincount(labels, minlength=1)
    rank = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[labels[order]]
    return np.sort(order[rank < most])
