"""Two ways of training compared on the same test images, each with the same seeds: before and after a correction.

Predictions are arrays of shape (seeds, images) of class numbers; -1 where the training of a seed did not test an image. So all
seeds may test all images, or each its own, as the folds of a cross-validation do. What varies by chance is the seed of a training
and which images are tested; one test asks about each (X. Bouthillier et al., "Accounting for Variance in Machine Learning
Benchmarks", 2021, https://arxiv.org/abs/2103.03098).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
"""Of bootstrap and permutation: with so many, a p of .05 is known to within .01."""
FEWEST_DRAWS = 500
"""Where there are very many test images."""
WORK = 2e8
"""Predictions counted in all draws together, a few seconds: with more test images there are fewer draws."""
LEVEL = 0.95
"""Of the interval."""
SURE = 1 - LEVEL
"""Below it a p is taken for a difference."""


class Measure(StrEnum):
    """How good predictions are, from 0 to 1, all seeds counted together: so rare classes and small folds do no harm to F1 (G. Forman
    and M. Scholz, "Apples-to-Apples in Cross-Validation Studies", 2010). The classes are those that have test images."""

    ACCURACY = "accuracy"
    """Share of the test images whose class is predicted."""
    BALANCED_ACCURACY = "balanced accuracy"
    """Mean over the classes of their recall."""
    MACRO_F1 = "macro-F1"
    """Mean over the classes of their F1, 2 right / (predicted + there)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure, before and after."""

    before: float
    after: float
    difference: float
    """After less before."""
    low: float
    """95 % interval of the difference: bootstrap over test images, class by class, and over seeds where all test the same."""
    high: float
    p_images: float
    """Two-sided, of a permutation test over test images: how often a difference as large would come about if it did not
    matter which of the two predicted an image."""
    p_seeds: float | None
    """Two-sided, of a paired t test over seeds; None where they do not vary."""
    before_by_seed: list[float]
    after_by_seed: list[float]

    @property
    def sure(self) -> bool:
        """Whether other test images would hardly turn the difference round."""
        return self.p_images < SURE


@dataclass(frozen=True, slots=True, eq=False)
class ByClass:
    """A value a class; not a number where the class has no test images."""

    recall_before: NDArray[np.float64]
    recall_after: NDArray[np.float64]
    f1_before: NDArray[np.float64]
    f1_after: NDArray[np.float64]


def compare(
    truth: NDArray[np.integer],
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    *,
    overlap: float,
    seed: int,
    draws: int = DRAWS,
) -> dict[Measure, Compared]:
    """Compares predictions with the true classes, shape (images,); seed s of both is one pair, and tests the same images.

    `overlap` is for `paired_t`: test images for each that is trained on, where each seed tests its own; 0 where all test the
    same. `seed` is for bootstrap and permutation, of `draws` each: same arguments, same result.
    """
    tested = _Tested(truth, before, after, draws)
    one, two = tested.before(tested.images), tested.after(tested.images)
    found = tested.difference(one, two)
    rng = np.random.default_rng(seed)
    low, high = np.quantile(list(tested.bootstrap(rng)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    permuted = np.abs(list(tested.permutations(rng)))
    # What is seen is one of the draws: so p is never 0, and never too small (B. Phipson and G. Smyth, 2010,
    # https://arxiv.org/abs/1603.05766). Rounding must not make equal differences unequal.
    p_images = (1 + (permuted >= np.abs(found) - 1e-12).sum(axis=0)) / (1 + len(permuted))
    by_seed = measures(one), measures(two)
    return {
        measure: Compared(
            before=float(measures(one.sum(axis=1))[at]),
            after=float(measures(two.sum(axis=1))[at]),
            difference=float(found[at]),
            low=float(low[at]),
            high=float(high[at]),
            p_images=float(p_images[at]),
            p_seeds=paired_t(by_seed[1][:, at] - by_seed[0][:, at], overlap=overlap),
            before_by_seed=by_seed[0][:, at].tolist(),
            after_by_seed=by_seed[1][:, at].tolist(),
        )
        for at, measure in enumerate(Measure)
    }


def by_class(
    truth: NDArray[np.integer],
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    *,
    n_classes: int,
) -> ByClass:
    """Recall and F1 of each class, of what `compare` compares."""
    found: list[NDArray[np.float64]] = []
    for predicted in (before, after):
        counter = _Counter(truth, predicted, n_classes)
        right, named, there = counter(np.ones_like(truth)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            found += [right / there, np.where(there > 0, 2 * right / (named + there), np.nan)]
    return ByClass(found[0], found[2], found[1], found[3])


def measures(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each `Measure`, shape (..., 3), of counts, shape (3, ..., classes): images of each class that were predicted rightly, all
    that were predicted so, and all that there are."""
    right, named, there = counts
    present = there > 0
    n_present = present.sum(axis=-1)
    some = np.where(present, there, 1)
    accuracy = right.sum(axis=-1) / there.sum(axis=-1)
    balanced = (right / some).sum(axis=-1) / n_present
    f1 = (2 * right / (named + some) * present).sum(axis=-1) / n_present
    return np.stack([accuracy, balanced, f1], axis=-1)


def paired_t(differences: NDArray[np.floating], *, overlap: float = 0.0) -> float | None:
    """Two-sided p of Student's paired t test, of the differences of pairs; None where they do not vary.

    Where each pair tests images that the others train on, the pairs are not independent, and their spread says too little:
    `overlap` is then the number of test images for each one trained on (C. Nadeau and Y. Bengio, "Inference for the
    Generalization Error", Machine Learning 52, 2003).
    """
    n = len(differences)
    spread = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    if spread < 1e-12:
        return None
    return t_tail(float(np.mean(differences)) / (spread * math.sqrt(1 / n + overlap)), n - 1)


def t_tail(t: float, degrees: int) -> float:
    """How probable a value is that is at least as far from 0, of Student's t with so many degrees of freedom.

    M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4: finite sums, exact but for rounding in
    the sixteenth place.
    """
    angle = math.atan(abs(t) / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for number in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (number - 1) / number
        total += term
    total *= math.sin(angle)
    within = 2 / math.pi * (angle + total) if odd else total
    return min(1.0, max(0.0, 1 - within))


class _Tested:
    """Test images, and what both predict of them. Images with one true class of which all say the same count as one pattern:
    nearly all are predicted as they are by everybody, so there are far fewer patterns than images."""

    def __init__(
        self,
        truth: NDArray[np.integer],
        before: NDArray[np.integer],
        after: NDArray[np.integer],
        draws: int,
    ) -> None:
        self.seeds = len(before)
        self.crossed = bool((before >= 0).all())
        n_classes = int(max(truth.max(), before.max(), after.max())) + 1
        narrow = (
            np.int16 if n_classes <= np.iinfo(np.int16).max else np.int32
        )  # unique() copies them five times
        told = np.concatenate([truth[None], before, after], dtype=narrow, casting="same_kind")
        found, counts = np.unique(told, axis=1, return_counts=True)  # sorted by their true class
        patterns = found.astype(np.int64)
        self.images: NDArray[np.int64] = counts
        self.truth = patterns[0]
        self.before = _Counter(self.truth, patterns[1 : 1 + self.seeds], n_classes)
        self.after = _Counter(self.truth, patterns[1 + self.seeds :], n_classes)
        self.draws = min(draws, max(FEWEST_DRAWS, int(WORK / patterns.size)))

    def difference(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each measure, of counts as a `_Counter` gives them."""
        return measures(after.sum(axis=1)) - measures(before.sum(axis=1))

    def bootstrap(self, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
        """Differences of images drawn anew with putting back, within their class, so that each keeps its number; where all seeds
        test all images, of seeds likewise (B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993)."""
        classes = [self.truth == label for label in np.unique(self.truth)]
        shares = [self.images[rows] / self.images[rows].sum() for rows in classes]
        drawn = np.empty(len(self.truth), np.int64)
        seeds = np.arange(self.seeds)
        for _ in range(self.draws):
            for rows, share in zip(classes, shares, strict=True):
                drawn[rows] = rng.multinomial(self.images[rows].sum(), share)
            if self.crossed:
                seeds = rng.integers(self.seeds, size=self.seeds)
            yield self.difference(self.before(drawn)[:, seeds], self.after(drawn)[:, seeds])

    def permutations(self, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
        """Differences where before and after change places at every image with a chance of one half, for all seeds alike
        (E. Noreen, 1989; A. Yeh, 2000, https://aclanthology.org/C00-2137, for measures as F1)."""
        before, after = self.before(self.images), self.after(self.images)
        for _ in range(self.draws):
            swapped = rng.binomial(self.images, 0.5)
            moved = self.after(swapped) - self.before(swapped)
            yield self.difference(before + moved, after - moved)


class _Counter:
    """Counts what is predicted of patterns, shape (seeds, patterns), where there are so many images of each."""

    def __init__(self, truth: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> None:
        self.shape = (len(predicted), n_classes)
        seed, self.pattern = np.nonzero(predicted >= 0)
        named = predicted[seed, self.pattern]
        there = truth[self.pattern]
        self.right = named == there
        self.named, self.there = (seed * n_classes + label for label in (named, there))

    def __call__(self, images: NDArray[np.integer]) -> NDArray[np.float64]:
        """Shape (3, seeds, classes), as `measures` has them."""
        count = images[self.pattern]
        size = self.shape[0] * self.shape[1]
        counts = [
            np.bincount(self.named[self.right], count[self.right], size),
            np.bincount(self.named, count, size),
            np.bincount(self.there, count, size),
        ]
        return np.stack(counts).reshape(3, *self.shape).astype(np.float64)
