"""Images, pair, seed -> two stratified halves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def seed_for(*parts: int) -> int:
    """A seed of 63 bits from the project's seed and what it is for; other parts, unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def split(labels: NDArray[np.integer], groups: NDArray[np.integer], *, seed: int) -> NDArray[np.bool_]:
    """Draws two halves; shape (n,), True for the images of the second.

    The halves are disjoint and complete. Images of one group, which are given the same number, go into the same half, also
    where their labels differ. In each class the halves differ by at most one image, unless groups are so large that no single images are left to balance them. Of the classes with an odd number
    of images, half get the larger part in the first half and half in the second.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    _, group, size = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    second = np.zeros(len(labels), bool)
    if not len(labels):
        return second
    n_classes = int(labels.max()) + 1
    balance = np.zeros(n_classes, np.int64)  # images in the second half minus images in the first

    # Groups of several images first, the largest first, each to the half that leaves its classes most even.
    repeated = np.flatnonzero(size > 1)
    order = repeated[np.lexsort((rng.random(len(repeated)), -size[repeated]))]
    rows_by_group = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[rows_by_group], order)
    for start, count in zip(starts.tolist(), size[order].tolist(), strict=True):
        rows = rows_by_group[start : start + count]
        added = np.bincount(labels[rows], minlength=n_classes)
        cost = np.abs(balance + added).sum() - np.abs(balance - added).sum()
        to_second = cost < 0 or (cost == 0 and rng.random() < 0.5)
        second[rows] = to_second
        balance += added if to_second else -added

    # Then the single images, at random within each class, to fill up whichever half is behind.
    single = np.flatnonzero(size[group] == 1)
    count = np.bincount(labels[single], minlength=n_classes)
    target = (count - balance) / 2
    odd = rng.permutation(np.flatnonzero(target % 1))
    target[odd] += np.where(np.arange(len(odd)) % 2 == rng.integers(2), 0.5, -0.5)
    target = np.clip(target, 0, count)
    order = single[np.lexsort((rng.random(len(single)), labels[single]))]
    rank = np.arange(len(order)) - (np.cumsum(count) - count)[labels[order]]
    second[order] = rank < target[labels[order]]
    return second
