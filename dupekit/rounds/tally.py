"""Predictions -> votes and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SUMS_DIFFER = 0.02
"""By less than this the sum of an image's probabilities may differ from 1."""
EPSILON = 1e-4
"""Added to both mean probabilities in the score: it keeps an image that no model thought possible from an
infinite score, and ranked planted and human label errors best (average precision) among 1e-6 to 1e-2."""

Predictions = Callable[[int, int], tuple[NDArray[np.intp], NDArray[np.floating]]]
"""The predictions of one run: called with ascending ranges of rows, `(start, stop)`, it gives the rows in
that range it predicted, shape (k,), and their probabilities, shape (k, classes)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The count over all runs, for the images `start` to `start + len(votes)`; arrays of shape (k,)."""

    start: int
    predictions: NDArray[np.int32]
    """How many runs predicted the image."""
    suggested: NDArray[np.int32]
    """The wrong class with the most votes, of equals the more probable; where there is no vote, the most
    probable other class. Where an identical image has another label, that one."""
    votes: NDArray[np.int32]
    """For the suggested class."""
    p_given: NDArray[np.float64]
    """Mean probability of the given label."""
    p_suggested: NDArray[np.float64]
    """Mean probability of the suggested label."""
    p_other: NDArray[np.float64]
    """The largest mean probability among the other classes."""
    score: NDArray[np.float64]
    contradicted: NDArray[np.bool_]
    """Whether an identical image has another label."""
    score_before: NDArray[np.float64] | None
    """Without the last runs; None where nobody asked, or without them there are none."""


def are_probabilities(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each of the rows (k, classes) holds probabilities, shape (k,): none negative or not finite, their sum 1 within what
    half precision, or three decimals of many classes, leave."""
    good: NDArray[np.bool_] = np.abs(rows.sum(axis=1, dtype=np.float64) - 1) < SUMS_DIFFER
    return good & (rows >= 0).all(axis=1)  # both are false for NaN


def most_probable(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """The predicted class of each row, shape (k,). The given label wins a draw: a draw is no vote."""
    rows = np.arange(len(labels))
    best = probabilities.argmax(axis=1)
    return np.where(probabilities[rows, labels] >= probabilities[rows, best], labels, best)


def agrees(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the given label is more probable than every other class, shape (k,). A draw is no agreement, either."""
    given = probabilities[np.arange(len(labels)), labels]
    agreeing: NDArray[np.bool_] = (probabilities >= given[:, None]).sum(axis=1) == 1
    return agreeing


def score(p_given: NDArray[np.float64], p_other: NDArray[np.float64]) -> NDArray[np.float64]:
    """How suspicious: log(p_other / p_given), natural, of the mean held-out probabilities, each plus
    EPSILON. Above 0 the models together prefer another class.

    A log-ratio of out-of-sample probabilities, as the normalized margin of confident learning
    (Northcutt et al., 2021, https://arxiv.org/abs/1911.00068) is a difference of them.
    """
    return np.log(p_other + EPSILON) - np.log(p_given + EPSILON)


def contradictions(labels: NDArray[np.integer], contents: NDArray[np.integer]) -> NDArray[np.int64]:
    """For each image the row of an identical one, that of an equal number in `contents`, with another label, shape (n,): the first
    with the most frequent of these labels; -1 where all agree. One of two labels is wrong then; which, nobody can tell from
    this."""
    found = np.full(len(labels), -1)
    rows = _repeated(np.asarray(contents))  # few, as a rule: of the others nothing is held
    given = np.asarray(labels)[rows].astype(np.int64)
    _, content = np.unique(np.asarray(contents)[rows], return_inverse=True)
    n_labels = int(given.max(initial=0)) + 1
    kinds, of_kind, count = np.unique(content * n_labels + given, return_index=True, return_counts=True)
    first = np.searchsorted(kinds // n_labels, np.arange(len(kinds) + 1))  # of each content: they are sorted
    for at in np.flatnonzero(np.diff(first)[content] > 1).tolist():
        of_content = slice(first[content[at]], first[content[at] + 1])
        other = kinds[of_content] % n_labels != given[at]
        found[rows[at]] = rows[of_kind[of_content][np.where(other, count[of_content], 0).argmax()]]
    return found


def _repeated(contents: NDArray[np.integer]) -> NDArray[np.int64]:
    """The rows whose number is there more than once, ascending."""
    order = np.argsort(contents)
    same = contents[order[1:]] == contents[order[:-1]]
    return np.union1d(order[1:][same], order[:-1][same])


def tally(
    labels: NDArray[np.integer],
    n_classes: int,
    runs: Sequence[Predictions],
    *,
    others: NDArray[np.integer] | None = None,
    last: int = 0,
    chunk: int = 16384,
) -> Iterator[Tally]:
    """Counts votes and averages probabilities, `chunk` images at a time, in the order of the images.

    `others` are the labels that contradict those given, shape (n,), -1 where none does; None: none does at all.
    `last` of the runs, those at the end, are those without which `score_before` is.

    Memory: chunk x n_classes x 12 bytes, whatever the numbers of images and runs. The result does not
    depend on the order of the runs, but for rounding in the last digits.
    """
    for start in range(0, len(labels), chunk):
        given = np.asarray(labels[start : start + chunk])
        shape = (len(given), n_classes)
        votes = np.zeros(shape, np.int32)
        total = np.zeros(shape, np.float64)
        count = np.zeros(len(given), np.int32)
        before = None
        for number, run in enumerate(runs):
            if last and 0 < number == len(runs) - last:
                before = _score_of(given, count, total)
            rows, probabilities = run(start, start + len(given))
            rows = rows - start
            count[rows] += 1
            total[rows] += probabilities
            votes[rows, most_probable(probabilities, given[rows])] += 1
        other = np.full(len(given), -1) if others is None else np.asarray(others[start : start + chunk])
        yield _judge(start, given, other, count, votes, total, before)


def _score_of(
    given: NDArray[np.integer], count: NDArray[np.int32], total: NDArray[np.float64]
) -> NDArray[np.float64]:
    rows = np.arange(len(given))
    mean = total / np.maximum(count, 1)[:, None]
    p_given = mean[rows, given].copy()
    mean[rows, given] = -1
    return score(p_given, mean.max(axis=1))


def means(
    images: int, n_classes: int, runs: Sequence[Predictions], *, chunk: int = 16384
) -> Iterator[NDArray[np.float64]]:
    """The mean probabilities over all runs, (k, n_classes), `chunk` images at a time, in their order. Memory as `tally`."""
    for start in range(0, images, chunk):
        stop = min(start + chunk, images)
        total, count = np.zeros((stop - start, n_classes)), np.zeros((stop - start, 1))
        for run in runs:
            rows, probabilities = run(start, stop)
            total[rows - start] += probabilities
            count[rows - start] += 1
        yield total / np.maximum(count, 1)


def _judge(
    start: int,
    given: NDArray[np.integer],
    other: NDArray[np.integer],
    count: NDArray[np.int32],
    votes: NDArray[np.int32],
    total: NDArray[np.float64],
    before: NDArray[np.float64] | None,
) -> Tally:
    rows = np.arange(len(given))
    mean = total / np.maximum(count, 1)[:, None]
    p_given = mean[rows, given].copy()
    mean[rows, given] = -1
    votes[rows, given] = -1
    p_other = mean.max(axis=1)
    # Of the classes with the most votes the more probable: a mean is at most 1, so it only breaks ties.
    suggested = np.where(other >= 0, other, (votes + mean / 2).argmax(axis=1)).astype(np.int32)
    return Tally(
        start,
        count,
        suggested,
        votes[rows, suggested],
        p_given,
        mean[rows, suggested],
        p_other,
        score(p_given, p_other),
        other >= 0,
        before,
    )
