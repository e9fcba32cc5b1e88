"""Plants label errors in a list of labels whose truth is known: for the demo, benchmarks and trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def plant_errors(
    labels: ArrayLike, likeness: NDArray[np.floating], *, share: float, seed: int
) -> NDArray[np.int64]:
    """A copy of the labels with `share` of them wrong, shape (n,).

    Half of the errors are uniform: any other class, equally likely. The other half are confusions: the
    class most alike by `likeness`, shape (classes, classes), larger is more alike, the diagonal ignored.
    The last two images that carry a class's label rightly are spared, so that no class is lost.
    """
    truth = np.asarray(labels, np.int64)
    planted = truth.copy()
    n_classes = len(likeness)
    rng = np.random.default_rng(seed)
    alike = likeness.astype(np.float64).copy()
    np.fill_diagonal(alike, -np.inf)
    nearest = alike.argmax(axis=1)
    left = np.bincount(truth, minlength=n_classes)
    wanted = round(len(truth) * share)
    made = 0
    for row in rng.permutation(len(truth)).tolist():
        if made == wanted:
            break
        own = truth[row]
        if left[own] <= 2:
            continue
        left[own] -= 1
        other = int(rng.integers(n_classes - 1))
        planted[row] = nearest[own] if made % 2 else other + (other >= own)
        made += 1
    return planted


def centroid_likeness(
    features: NDArray[np.floating], labels: NDArray[np.integer], n_classes: int
) -> NDArray[np.float64]:
    """Minus the distances between the classes' mean features (n, d); shape (classes, classes)."""
    means = np.stack([features[labels == label].mean(axis=0) for label in range(n_classes)])
    distances: NDArray[np.float64] = np.linalg.norm(means[:, None] - means[None], axis=2)
    return -distances
