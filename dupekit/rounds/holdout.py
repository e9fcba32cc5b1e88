"""Test images: those whose label nobody disputed, in folds that are kept out of the trainings one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
FEWEST = 3
"""Undisputed images that a class needs: with fewer, what is left of it to train on would be another class."""


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Arrays of shape (n,)."""

    fold: NDArray[np.int64]
    """With which fold, from 0 on, an image is kept out of a training; -1: with none."""
    tested: NDArray[np.bool_]
    """Of the images of a fold those that test; the others are copies of one."""


def folds(
    labels: NDArray[np.integer], groups: NDArray[np.integer], undisputed: NDArray[np.bool_], *, seed: int
) -> Folds:
    """Deals the undisputed images, at random, to FOLDS folds that hold the same share of each class; arguments of shape (n,).

    Images of an equal group are alike: they come into one fold together, and one of them tests. So they do only if all in the
    group are undisputed and have one label. A class with fewer than FEWEST such groups is not tested.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    sure = np.ones(len(first), bool)
    sure[group[~undisputed | (labels != labels[first][group])]] = False
    found = np.random.default_rng(seed).permutation(np.flatnonzero(sure))
    of_group = labels[first[found]]
    enough = (np.bincount(of_group) >= FEWEST)[of_group] if len(found) else of_group > 0
    found, of_group = found[enough], of_group[enough]
    fold_of_group = np.full(len(first), -1, np.int64)
    fold_of_group[found[np.argsort(of_group, kind="stable")]] = np.arange(len(found)) % FOLDS
    fold = fold_of_group[group]
    tested = np.zeros(len(labels), bool)
    tested[first] = True
    return Folds(fold, tested & (fold >= 0))
