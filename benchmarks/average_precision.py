"""How good a round was: accuracy of the models, and ranking quality where the truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def average_precision(scores: ArrayLike, wrong: ArrayLike) -> float:
    """Average precision of ranking by `scores`, highest first, where `wrong` marks the true label errors.

    Both of shape (n,). Equal scores are taken as one step, as scikit-learn's `average_precision_score`
    does. NaN where nothing is wrong.
    """
    score = np.asarray(scores, np.float64)
    hit: NDArray[np.bool_] = np.asarray(wrong, bool)
    if not hit.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    last_of_equal = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    found = np.cumsum(hit[order])[last_of_equal]
    precision = found / (last_of_equal + 1)
    gained = np.diff(np.append(0, found))
    return float((precision * gained).sum() / hit.sum())
