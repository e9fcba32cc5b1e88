"""Trains small classifiers on features: those of all runs of a round at once.

Runs differ only in which images they see and in which order, so the weights of their heads are stacked and a step of
all of them is a few batched matrix products. What a head becomes does not depend on which runs are trained
beside it, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dupekit_probe.networks import Head, Heads, Layer, Shape
from dupekit_probe.options import MIN_BATCH, MIN_STEPS

if TYPE_CHECKING:
    import torch

_WARM_UP = 0.1
_IMPOSSIBLE = -1e4
"""A logit whose softmax is 0."""
_STEP_GRID = 1.05
_BATCH_GRID = 32
"""Numbers of steps are rounded to powers of the first, batches to multiples of the second, so that runs of nearly one size
are trained as one."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How heads are trained; fixed in advance, so that no label of a held-out image can have a say."""

    epochs: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    label_smoothing: float


@dataclass(frozen=True, slots=True, order=True)
class Pace:
    steps: int
    batch: int


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One run: the images that its heads are trained on."""

    rows: NDArray[np.int64]
    """Shape (n,): which rows of the features."""
    labels: NDArray[np.int64]
    """Shape (n,): their classes."""
    seed: int
    """Decides the order of the images, and all else that is random."""
    weights: NDArray[np.float32] | None = None
    """Shape (n,): how much each image counts in the loss; None: all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What became of a run: its prediction is the mean of its heads' probabilities."""

    heads: tuple[Head, ...]
    """In the order of the shapes."""
    loss: float
    """Mean cross-entropy of the heads over the last tenth of the steps."""
    steps: int


def train_heads(
    features: NDArray[np.floating[Any]],
    problems: Sequence[Problem],
    *,
    shapes: Sequence[Shape],
    classes: int,
    recipe: Recipe,
    device: str,
    threads: int,
    progress: Callable[[int, int], None],
) -> list[Trained]:
    """A head of each shape for each problem, in their order. Same arguments, same heads.

    `features` are standardised, shape (images, dim). AdamW with a linear warm-up over a tenth of the steps and a cosine
    to zero. On a CPU the problems are dealt to `threads` threads. `progress` is told, from the caller's thread, how many
    steps are done of how many.
    """
    import torch

    matrix = torch.from_numpy(features).to(device)
    paces = [pace_for(len(problem.rows), recipe) for problem in problems]
    order = sorted(range(len(problems)), key=lambda at: paces[at])
    groups = [list(group) for _, group in groupby(order, key=lambda at: paces[at])]
    if device == "cpu":
        groups = [part for group in groups for part in _dealt(group, threads)]
    told = _Told(len(groups))

    def train(number: int) -> list[Trained]:
        group = groups[number]
        return _train_group(
            matrix,
            [problems[at] for at in group],
            shapes,
            classes,
            recipe,
            paces[group[0]],
            lambda step: told.tell(number, step),
        )

    total = sum(paces[group[0]].steps for group in groups)
    found: dict[int, Trained] = {}
    for number, trained in enumerate(
        _in_threads(train, len(groups), threads if device == "cpu" else 1, told, total, progress)
    ):
        found.update(zip(groups[number], trained, strict=True))
    return [found[at] for at in range(len(problems))]


class _Told:
    """How many steps each group has done, told by its thread, read by the caller's; and whether to stop."""

    def __init__(self, groups: int) -> None:
        self.steps = [0] * groups
        self.stop = False

    def tell(self, group: int, step: int) -> None:
        self.steps[group] = step
        if self.stop:
            raise InterruptedError


def _dealt(group: Sequence[int], hands: int) -> list[list[int]]:
    return [list(group[start::hands]) for start in range(min(hands, len(group)))]


def _in_threads(
    train: Callable[[int], list[Trained]],
    count: int,
    threads: int,
    told: _Told,
    total: int,
    progress: Callable[[int, int], None],
) -> list[list[Trained]]:
    """What `train` makes of 0 to count - 1, in that many threads, each of which computes alone.

    torch's own threads wait for each other after every one of a step's ten operations: as fast on an
    idle machine, and 5 to 11 times slower where others use the processors too.
    """
    import torch

    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(train, number) for number in range(count)]
        try:
            while True:
                done, pending = wait(futures, timeout=0.2, return_when=FIRST_EXCEPTION)
                progress(sum(told.steps), total)
                failed = next((future.exception() for future in done if future.exception()), None)
                if failed is not None:
                    raise failed
                if not pending:
                    return [future.result() for future in futures]
        finally:
            told.stop = True
            torch.set_num_threads(before)  # the libraries beneath keep one number for all threads


def pace_for(images: int, recipe: Recipe) -> Pace:
    """For that many training images: where they are few, more passes, and batches so small that there are MIN_STEPS."""
    seen = recipe.epochs * images
    exact = max(1.0, seen / recipe.batch_size)
    steps = round(_STEP_GRID ** round(math.log(exact, _STEP_GRID)))
    if steps >= MIN_STEPS:
        return Pace(steps, recipe.batch_size)
    batch = _BATCH_GRID * round(seen / MIN_STEPS / _BATCH_GRID)
    return Pace(MIN_STEPS, min(recipe.batch_size, max(MIN_BATCH, batch)))


def _train_group(
    matrix: torch.Tensor,
    problems: Sequence[Problem],
    shapes: Sequence[Shape],
    classes: int,
    recipe: Recipe,
    pace: Pace,
    report: Callable[[int], None],
) -> list[Trained]:
    import torch

    count, size, steps, dim = len(problems), pace.batch, pace.steps, matrix.shape[1]
    kinds = [
        Heads(
            shape,
            [(problem.seed, number) for problem in problems],
            features=len(range(dim)[shape.columns]),
            classes=classes,
            weight_decay=recipe.weight_decay,
            device=matrix.device,
        )
        for number, shape in enumerate(shapes)
    ]
    streams = [_Stream(problem) for problem in problems]
    picked = torch.empty(count * size, dim, dtype=matrix.dtype, device=matrix.device)
    tail = torch.zeros(count, device=matrix.device)
    tail_steps = max(1, steps // 10)
    for step in range(steps):
        drawn = [stream.take(size) for stream in streams]
        rows = torch.from_numpy(np.concatenate([one.rows for one in drawn])).to(matrix.device)
        labels = torch.from_numpy(np.stack([one.labels for one in drawn])).to(matrix.device)[..., None]
        # Into memory that is there: half the time of an index_select that asks for new, a sixth of that of matrix[rows].
        batch = torch.index_select(matrix, 0, rows, out=picked).float().view(count, size, dim)
        counts = _counts(drawn, matrix.device)
        for heads in kinds:
            logs = torch.log_softmax(heads.logits(batch), 2)
            if step >= steps - tail_steps:
                tail -= (logs.gather(2, labels) * counts).mean((1, 2)) / (tail_steps * len(kinds))
            # The gradient of the cross-entropy by the logits is what is predicted less what is wanted.
            error = logs.exp_().sub_(recipe.label_smoothing / classes)
            error.scatter_add_(2, labels, error.new_full(labels.shape, recipe.label_smoothing - 1))
            error *= counts / size
            heads.descend(error, recipe.learning_rate * schedule(step, steps))
        if step % 20 == 0:
            report(step)
    report(steps)
    trained = zip(*(heads.trained() for heads in kinds), strict=True)
    return [
        Trained(tuple(_with_impossible(head, problem, classes) for head in heads), loss, steps)
        for heads, problem, loss in zip(trained, problems, tail.tolist(), strict=True)
    ]


def _with_impossible(head: Head, problem: Problem, classes: int) -> Head:
    """A class that a head never saw it cannot know; far from what it saw, it would still guess it."""
    absent = np.bincount(problem.labels, problem.weights, minlength=classes) == 0
    *below, last = head.layers
    weight, bias = last.weight.copy(), last.bias.copy()
    weight[absent], bias[absent] = 0, _IMPOSSIBLE
    return Head(head.columns, (*below, Layer(weight, bias)))


def _counts(drawn: Sequence[Problem], device: torch.device) -> torch.Tensor | float:
    """How much each image of a step counts, shape (heads, images, 1); 1 where all count the same."""
    import torch

    if all(one.weights is None for one in drawn):
        return 1.0
    weights = [np.ones(len(one.rows), np.float32) if one.weights is None else one.weights for one in drawn]
    return torch.from_numpy(np.stack(weights)).to(device)[..., None]


def schedule(step: int, steps: int) -> float:
    """The learning rate of a step as a part of the highest."""
    at = (step + 0.5) / steps
    if at < _WARM_UP:
        return at / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (at - _WARM_UP) / (1 - _WARM_UP)))


class _Stream:
    """A problem's images in random order, for ever: every one once before any twice."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._random = np.random.default_rng(problem.seed)
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> Problem:
        """The next images: a problem of `count`."""
        whole = self._problem
        while len(self._left) < count:
            self._left = np.concatenate([self._left, self._random.permutation(len(whole.rows))])
        picked, self._left = self._left[:count], self._left[count:]
        weights = None if whole.weights is None else whole.weights[picked]
        return Problem(whole.rows[picked], whole.labels[picked], whole.seed, weights)
