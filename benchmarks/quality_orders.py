"""Orders of suspicion from held-out predictions, and what an order is worth where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from average_precision import average_precision
from numpy.typing import NDArray
from quality_cells import Recipe, Round

from dupekit.rounds.rules import default_threshold
from dupekit.rounds.tally import EPSILON, Tally, tally

RARE = 50
"""A class with fewer images is rare: by given labels where a list is looked at, by true ones where errors are."""


class Order(StrEnum):
    """By what images are opened, the most suspicious first."""

    SCORE = "score"
    """dupekit's default: the log-ratio of the mean held-out probabilities."""
    VOTES = "votes"
    """Pairs that predict the same wrong class; ties by score."""
    KTH = "8th"
    """The 8th largest of ten pairs' log-ratios for one other class, of the class where it is largest."""
    CALMED = "s-H/2"
    """The score less half the entropy (in nats) of the mean prediction: what the models find ambiguous comes later."""
    CONFIDENCE = "selfconf"
    """cleanlab's self-confidence, of the same mean predictions, as all that follow."""
    MARGIN = "margin"
    """cleanlab's normalized margin."""
    ENTROPY = "entropy"
    """cleanlab's confidence-weighted entropy."""
    ISSUES = "issues"
    """cleanlab's find_label_issues, ranked by self-confidence; all that it leaves out is one tie at the end."""
    RECIPE = "recipe"
    """cleanlab's usual recipe: five-fold logistic regression on the same features, self-confidence."""
    REPEATED = "repeated"
    """The same, averaged over the repetitions."""
    FEW_PAIRS = "few pairs"
    """The score of so many pairs as train on as many images as the recipe does once: four."""


RULES = (Order.SCORE, Order.VOTES, Order.KTH, Order.CALMED)
"""What could order dupekit's list."""
CLEANLAB = (Order.CONFIDENCE, Order.MARGIN, Order.ENTROPY, Order.ISSUES)
SCORES = (Order.SCORE, Order.VOTES, Order.KTH, *CLEANLAB)
"""Of one and the same predictions."""
EQUAL_PAIRS = 4
"""Eight halves: as many images trained on as in five times four fifths."""
FIRST = (0.01, 0.02, 0.05)
RECALLS = (0.8, 0.9)


def suspicions(made: Round, recipe: Recipe | None) -> dict[Order, NDArray[np.float64]]:
    """How suspicious each image is by each order, shape (n,); larger is more."""
    counted = _tally(made.given, made.pairs)
    mean = made.pairs.astype(np.float64).mean(axis=0)
    mean /= mean.sum(axis=1, keepdims=True)
    found = {
        Order.SCORE: counted.score,
        Order.VOTES: counted.votes + counted.score / 100,  # of scores between -9.3 and 9.3
        Order.KTH: _kth_odds(made.given, made.pairs),
        Order.CALMED: counted.score + (mean * np.log(mean + EPSILON)).sum(axis=1) / 2,
        **_cleanlab(made.given, mean),
        Order.FEW_PAIRS: _tally(made.given, made.pairs[:EQUAL_PAIRS]).score,
    }
    if recipe is not None:
        rows = np.arange(len(made.given))
        given = recipe.probabilities[:, rows, made.given].astype(np.float64)
        found[Order.RECIPE] = -given[0]
        found[Order.REPEATED] = -given.mean(axis=0)
    return found


def _tally(given: NDArray[np.int64], pairs: NDArray[np.float16]) -> Tally:
    every = np.arange(len(given))
    runs = [_run(every, probabilities) for probabilities in pairs]
    (counted,) = tally(given, pairs.shape[2], runs, chunk=len(given))
    return counted


def _run(
    rows: NDArray[np.intp], probabilities: NDArray[np.float16]
) -> Callable[[int, int], tuple[NDArray[np.intp], NDArray[np.floating]]]:
    return lambda _start, _stop: (rows, probabilities)


def _kth_odds(given: NDArray[np.int64], pairs: NDArray[np.float16]) -> NDArray[np.float64]:
    rows = np.arange(len(given))
    logs = np.log(pairs.astype(np.float32) + np.float32(EPSILON))
    odds = logs - logs[:, rows, given][..., None]
    place = len(pairs) - default_threshold(len(pairs))
    kth = np.sort(odds, axis=0)[place]
    kth[rows, given] = -np.inf
    return kth.max(axis=1).astype(np.float64)


def _cleanlab(given: NDArray[np.int64], mean: NDArray[np.float64]) -> dict[Order, NDArray[np.float64]]:
    """cleanlab calls what is least likely labelled right the lowest."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import (
        get_confidence_weighted_entropy_for_each_label,
        get_normalized_margin_for_each_label,
        get_self_confidence_for_each_label,
    )

    listed = find_label_issues(given, mean, return_indices_ranked_by="self_confidence", n_jobs=1)
    issues = np.zeros(len(given))
    issues[listed] = np.arange(len(listed), 0, -1)
    return {
        Order.CONFIDENCE: -get_self_confidence_for_each_label(given, mean),
        Order.MARGIN: -get_normalized_margin_for_each_label(given, mean),
        Order.ENTROPY: -get_confidence_weighted_entropy_for_each_label(given, mean),
        Order.ISSUES: issues,
    }


@dataclass(frozen=True, slots=True)
class Worth:
    """What an order finds, among some of the images. None: cannot be said."""

    images: int
    errors: int
    average_precision: float
    opened: tuple[int | None, ...]
    """Images until the shares `RECALLS` of the errors are found; None where a tie at the end comes first."""
    precision: tuple[float, ...]
    """Share of errors among the first `FIRST` of the images."""
    rare_average_precision: float | None
    """Among the images that are labelled as of a rare class."""
    found_rare: float | None
    """Share of the errors truly of a rare class that are among the first `errors` images."""
    found_others: float | None


def worth(suspicion: NDArray[np.float64], made: Round, among: NDArray[np.bool_]) -> Worth:
    wrong = (made.given != made.truth)[among]
    suspicion = suspicion[among]
    size = np.bincount(made.given, minlength=made.pairs.shape[2])
    true_size = np.bincount(made.truth, minlength=made.pairs.shape[2])
    listed_rare = (size < RARE)[made.given[among]]
    truly_rare = (true_size < RARE)[made.truth[among]]
    # Among equals in the order of a lot: no order of the files helps.
    lot = np.random.default_rng(0).permutation(len(wrong))
    order = lot[np.argsort(-suspicion[lot], kind="stable")]
    found = np.cumsum(wrong[order])
    errors = int(wrong.sum())
    tied = int((suspicion == suspicion.min()).sum())
    firm = len(wrong) - (tied if tied > 1 else 0)
    first = np.zeros(len(wrong), bool)
    first[order[:errors]] = True
    needed = [int(np.searchsorted(found, math.ceil(share * errors))) + 1 for share in RECALLS]
    return Worth(
        images=len(wrong),
        errors=errors,
        average_precision=average_precision(suspicion, wrong),
        opened=tuple(count if count <= firm else None for count in needed),
        precision=tuple(float(wrong[order[: math.ceil(share * len(wrong))]].mean()) for share in FIRST),
        rare_average_precision=average_precision(suspicion[listed_rare], wrong[listed_rare])
        if wrong[listed_rare].any()
        else None,
        found_rare=_mean(first[wrong & truly_rare]),
        found_others=_mean(first[wrong & ~truly_rare]),
    )


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None
