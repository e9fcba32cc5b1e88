"""Verdicts so far -> what the next batch will hold, what is left, and whether to stop; and the draw of an audit.

Nothing is estimated without verdicts: what predictions alone say of the number of errors was wrong by factors of 2 to 9.
How true the estimates are, and what the constants rest on, is measured by `benchmarks/yield.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import UsageError
from dupekit.rounds.curve import Curve

MIN_VERDICTS = 30
"""With fewer, nothing is estimated, and no stop is advised."""
INTERVAL = 0.8
"""The truth lies between `low` and `high` about so often."""
ENOUGH = 0.8
"""A stop is advised once probably so large a share of all wrong labels is found ..."""
AT_LEAST = 0.6
"""... and, should as many be left as `high` says, still this share."""
HARDLY_ANY = 0.01
"""A stop is advised, too, where even by `high` no larger share of the next batch is wrong."""
ROWS = 12
"""At most so many in the table by rank."""


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """Images with a verdict other than unsure, in any order; arrays of shape (n,)."""

    scores: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    """Whether the given label was found wrong: relabel or expunge."""

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number of wrong labels, and its 80 % interval."""

    images: int
    """Among how many."""
    low: int
    expected: int
    """As likely too high as too low."""
    high: int


@dataclass(frozen=True, slots=True)
class RankRow:
    """What was found from one rank of the suspects to another; 1 is the most suspicious."""

    from_rank: int
    to_rank: int
    reviewed: int
    wrong: int
    share: float | None
    """Wrong of those reviewed; None where none was."""


@dataclass(frozen=True, slots=True)
class Yield:
    """What a review has found, and what is probably left."""

    reviewed: int
    """Suspects with a verdict other than unsure."""
    wrong: int
    """Of these."""
    audited: int
    """Images of the audit with such a verdict. 0: what lies outside the list is a guess from the list, hence a wider interval."""
    audited_wrong: int
    table: tuple[RankRow, ...]
    """By tens, twenties, fifties, hundreds ...: at most `ROWS` rows, to the last reviewed suspect."""
    next_batch: Estimate | None
    """None where no suspect is left, or too little is known."""
    left: Estimate | None
    """In all images without a verdict, suspects or not; None where too little is known."""
    found_share: float | None
    """Of all wrong labels, by `left.expected`."""
    missing: str | None
    """Why nothing is estimated, in words; None where it is."""
    stop: bool
    """Whether a stop is advised."""

    @property
    def found(self) -> int:
        """Wrong labels found so far, those of the audit included."""
        return self.wrong + self.audited_wrong


def estimate(
    reviewed: Decided,
    *,
    audit: Decided | None = None,
    undecided: NDArray[np.float64],
    out: NDArray[np.float64] | None = None,
    unsuspected: NDArray[np.float64],
    batch: int,
) -> Yield:
    """What the verdicts so far say; nothing depends on the order of an array.

    `reviewed` are suspects, `audit` images of the audit, as far as there is a verdict. `undecided` are the scores of the
    suspects without a verdict that the next batches are taken from, `out` of those that lie in a tree already, `unsuspected` those of all other images without one, the audit's open ones among them.
    Images that are unsure, or on the ignore list from before, are in none of them: they count neither as found nor as left.
    `batch`: how many images the next batch will have.

    One curve (see `dupekit.rounds.curve`) is fitted to all verdicts. It needs no weights for the audit's strata: within
    a stratum the draw does not look at the label. The audit's use is that the curve is measured where nobody else looks.
    In the benchmark the weights of Horvitz and Thompson (Journal of the American Statistical Association 47, 1952) were as
    true in the middle and farther off in the single case: an audit of 100 seldom holds more than a few wrong labels.
    """
    audit = audit or Decided(np.zeros(0), np.zeros(0, bool))
    out = np.zeros(0) if out is None else out
    next_batch = left = found_share = None
    stop = False
    verdicts = len(reviewed) + len(audit)
    missing = None if verdicts >= MIN_VERDICTS else f"too few verdicts ({verdicts} of {MIN_VERDICTS})"
    found = int(reviewed.wrong.sum() + audit.wrong.sum())
    if missing is None:
        next_batch, left = _estimates(reviewed, audit, undecided, np.concatenate([out, unsuspected]), batch)
        found_share = _share(found, left.expected)
        enough = found_share >= ENOUGH and _share(found, left.high) >= AT_LEAST
        stop = enough or (next_batch is not None and next_batch.high <= HARDLY_ANY * next_batch.images)
    return Yield(
        reviewed=len(reviewed),
        wrong=int(reviewed.wrong.sum()),
        audited=len(audit),
        audited_wrong=int(audit.wrong.sum()),
        table=_by_rank(reviewed, np.concatenate([undecided, out])),
        next_batch=next_batch,
        left=left,
        found_share=found_share,
        missing=missing,
        stop=stop,
    )


def _estimates(
    reviewed: Decided,
    audit: Decided,
    undecided: NDArray[np.float64],
    others: NDArray[np.float64],
    batch: int,
) -> tuple[Estimate | None, Estimate]:
    scores = np.concatenate([reviewed.scores, audit.scores])
    curve = Curve.over(np.concatenate([scores, undecided, others]))
    shares = curve.shares(scores, np.concatenate([reviewed.wrong, audit.wrong]))
    most_suspicious = np.sort(undecided)[::-1]
    rng = np.random.default_rng(0)  # the same verdicts, the same answer

    def wrong_of(images: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draws of their number of wrong labels, shape (draws,)."""
        counts: NDArray[np.int64] = rng.binomial(curve.count(images), shares).sum(axis=1)
        return counts

    coming, later = most_suspicious[:batch], most_suspicious[batch:]
    of_next = wrong_of(coming)
    of_all = of_next + wrong_of(later) + wrong_of(others)
    left = _interval(of_all, len(undecided) + len(others))
    return (_interval(of_next, len(coming)) if len(coming) else None), left


def _interval(draws: NDArray[np.int64], images: int) -> Estimate:
    tail = (1 - INTERVAL) / 2
    low, expected, high = np.quantile(draws, [tail, 0.5, 1 - tail])
    return Estimate(images, math.floor(low), round(expected), math.ceil(high))


def _share(found: int, left: int) -> float:
    return found / (found + left) if found + left else 1.0


def _by_rank(reviewed: Decided, undecided: NDArray[np.float64]) -> tuple[RankRow, ...]:
    if not len(reviewed):
        return ()
    order = np.lexsort((~reviewed.wrong, -reviewed.scores))
    scores, wrong = reviewed.scores[order], reviewed.wrong[order]
    more_suspicious = np.searchsorted(np.sort(-undecided), -scores)  # of the undecided; equals come after
    rank = 1 + np.arange(len(scores)) + more_suspicious
    last = int(rank[-1])
    step = next(
        s for power in range(1, 20) for s in (10**power, 2 * 10**power, 5 * 10**power) if s * ROWS >= last
    )
    row = (rank - 1) // step
    n = np.bincount(row).tolist()
    found = np.bincount(row, weights=wrong).astype(int).tolist()
    return tuple(
        RankRow(i * step + 1, min((i + 1) * step, last), n[i], found[i], found[i] / n[i] if n[i] else None)
        for i in range(len(n))
    )


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
            f"An audit of {n} images is more than there is: {len(scores)} images are neither suspects nor decided nor out.",
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
