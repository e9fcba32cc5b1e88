"""Verdicts -> how likely an image of any score is labelled wrong: a logistic curve that may drift.

The log-odds of being wrong are a straight line in the score, plus a random walk that begins at the highest score, where a
review begins. So the verdicts bend the curve where there are any, and away from them it grows uncertain with the distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOPE, SLOPE_SD = 1.2, 0.3
"""Prior of the line, a unit of score. The score is a log-ratio of probabilities: were they calibrated, the slope would be
1; averaged over pairs they are rather too modest."""
LEVEL, LEVEL_SD = -3.0, 2.0
"""Prior of the line at score 0: between 1 in 1,000 and 3 in 4 are wrong there."""
BEND = 2.0
"""Below 0, where the models prefer the given label, the line falls so much faster."""
DRIFT = 0.7
"""Standard deviation of the walk over one unit of score."""
BIN = 0.5
"""Scores within so much count as alike."""
MAX_BINS = 100
DRAWS = 2000
_CONVERGED = 1e-6
_LONGEST_STEP = 3.0
"""Of the log-odds in one iteration: Newton's method may overshoot where all verdicts are alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The prior over a grid of scores; `edges` has one more than there are bins."""

    edges: NDArray[np.float64]

    @classmethod
    def over(cls, scores: NDArray[np.float64]) -> Curve:
        """A grid that holds all these scores: at least one."""
        low, high = float(scores.min()), float(scores.max())
        bins = min(MAX_BINS, max(1, math.ceil((high - low) / BIN)))
        return cls(np.linspace(low, max(high, low + BIN / MAX_BINS), bins + 1))

    def count(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of the scores lie in each bin, shape (bins,)."""
        return np.bincount(
            np.searchsorted(self.edges[1:-1], scores, side="right"), minlength=len(self.edges) - 1
        )

    def shares(self, scores: NDArray[np.float64], wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Draws from the posterior of the share wrong in each bin, shape (DRAWS, bins), always the same.

        Laplace's approximation: C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006),
        algorithm 3.1. The prior keeps the curve finite where all verdicts are alike, as A. Gelman and others advise (Annals of
        Applied Statistics 2, 2008).
        """
        n, k = self.count(scores), self.count(scores[wrong])
        mean, prior = self._prior()
        log_odds = mean
        for _ in range(100):
            p, root, inner = _curvature(log_odds, n, prior)
            gradient = root**2 * (log_odds - mean) + k - n * p
            gradient -= root * np.linalg.solve(inner, root * (prior @ gradient))
            step = mean + prior @ gradient - log_odds
            log_odds = log_odds + step * min(1.0, _LONGEST_STEP / max(np.abs(step).max(), _CONVERGED))
            if np.abs(step).max() < _CONVERGED:
                break
        _, root, inner = _curvature(log_odds, n, prior)
        covariance = prior - (prior * root) @ np.linalg.solve(inner, root[:, None] * prior)
        variances, axes = np.linalg.eigh(covariance)
        normal = np.random.default_rng(0).standard_normal((DRAWS, len(mean)))
        return _logistic(log_odds + normal * np.sqrt(np.maximum(variances, 0)) @ axes.T)

    def _prior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and covariance of the log-odds in the bins."""
        centres = (self.edges[:-1] + self.edges[1:]) / 2
        x = np.where(centres > 0, centres, BEND * centres)
        walked = x.max() - x
        covariance = (
            LEVEL_SD**2
            + SLOPE_SD**2 * np.outer(x, x)
            + DRIFT**2 * np.minimum(walked[:, None], walked[None, :])
        )
        return LEVEL + SLOPE * x, covariance


def _curvature(
    log_odds: NDArray[np.float64], n: NDArray[np.int64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Shares, the roots of the verdicts' information, and the matrix B of the book."""
    p = _logistic(log_odds)
    root = np.sqrt(n * p * (1 - p))
    return p, root, np.eye(len(n)) + root[:, None] * prior * root


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return shares
