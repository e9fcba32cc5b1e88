"""Trains linear softmax classifiers on features: those of all runs of a round at once.

Heads differ only in which images they see and in which order, so their weights are stacked and a step of
all of them is one batched matrix product. What a head becomes does not depend on which others are trained
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

from dupekit_probe.options import MIN_STEPS

if TYPE_CHECKING:
    import torch

_WARM_UP = 0.1
_BETAS = 0.9, 0.999
_IMPOSSIBLE = -1e4
"""A logit whose softmax is 0."""
_STEP_GRID = 1.05
"""Numbers of steps are rounded to powers of this, so that runs of nearly one size are trained as one."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How heads are trained; fixed in advance, so that no label of a held-out image can have a say."""

    epochs: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    label_smoothing: float


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One head to be trained."""

    rows: NDArray[np.int64]
    """Shape (n,): which rows of the features."""
    labels: NDArray[np.int64]
    """Shape (n,): their classes."""
    seed: int
    """Decides the order of the images. A head's weights start at zero: the problem is convex."""
    weights: NDArray[np.float32] | None = None
    """Shape (n,): how much each image counts in the loss; None: all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    weight: NDArray[np.float32]
    """Shape (classes, dim)."""
    bias: NDArray[np.float32]
    """Shape (classes,)."""
    loss: float
    """Mean cross-entropy over the last tenth of the steps."""
    steps: int


def train_heads(
    features: NDArray[np.floating[Any]],
    problems: Sequence[Problem],
    *,
    classes: int,
    recipe: Recipe,
    device: str,
    threads: int,
    progress: Callable[[int, int], None],
) -> list[Head]:
    """A head for each problem, in their order. Same arguments, same heads.

    `features` are standardised, shape (images, dim). AdamW (I. Loshchilov and F. Hutter, ICLR 2019) with
    a linear warm-up over a tenth of the steps and a cosine to zero. On a CPU the heads are dealt to
    `threads` threads. `progress` is told, from the caller's thread, how many steps are done of how many.
    """
    import torch

    matrix = torch.from_numpy(features).to(device)
    steps = [steps_for(len(problem.rows), recipe) for problem in problems]
    order = sorted(range(len(problems)), key=lambda at: steps[at])
    groups = [list(group) for _, group in groupby(order, key=lambda at: steps[at])]
    if device == "cpu":
        groups = [part for group in groups for part in _dealt(group, threads)]
    told = _Told(len(groups))

    def train(number: int) -> list[Head]:
        group = groups[number]
        return _train_group(
            matrix,
            [problems[at] for at in group],
            classes,
            recipe,
            steps[group[0]],
            lambda step: told.tell(number, step),
        )

    total = sum(steps[group[0]] for group in groups)
    heads: dict[int, Head] = {}
    for number, trained in enumerate(
        _in_threads(train, len(groups), threads if device == "cpu" else 1, told, total, progress)
    ):
        heads.update(zip(groups[number], trained, strict=True))
    return [heads[at] for at in range(len(problems))]


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
    train: Callable[[int], list[Head]],
    count: int,
    threads: int,
    told: _Told,
    total: int,
    progress: Callable[[int, int], None],
) -> list[list[Head]]:
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


def steps_for(images: int, recipe: Recipe) -> int:
    """Optimiser steps for that many training images: at least MIN_STEPS."""
    exact = max(1.0, recipe.epochs * images / recipe.batch_size)
    return max(MIN_STEPS, round(_STEP_GRID ** round(math.log(exact, _STEP_GRID))))


def _train_group(
    matrix: torch.Tensor,
    problems: Sequence[Problem],
    classes: int,
    recipe: Recipe,
    steps: int,
    report: Callable[[int], None],
) -> list[Head]:
    import torch

    count, size, dim = len(problems), recipe.batch_size, matrix.shape[1]
    weight = _Parameter((count, classes, dim), matrix.device, recipe.weight_decay)
    bias = _Parameter((count, 1, classes), matrix.device, 0.0)
    streams = [_Stream(problem) for problem in problems]
    tail = torch.zeros(count, device=matrix.device)
    tail_steps = max(1, steps // 10)
    for step in range(steps):
        drawn = [stream.take(size) for stream in streams]
        rows = torch.from_numpy(np.concatenate([one.rows for one in drawn])).to(matrix.device)
        labels = torch.from_numpy(np.stack([one.labels for one in drawn])).to(matrix.device)[..., None]
        # index_select takes a third of the time that matrix[rows] takes.
        batch = matrix.index_select(0, rows).float().view(count, size, dim)
        logs = torch.log_softmax(torch.baddbmm(bias.value, batch, weight.value.transpose(1, 2)), 2)
        counts = _counts(drawn, matrix.device)
        if step >= steps - tail_steps:
            tail -= (logs.gather(2, labels) * counts).mean((1, 2)) / tail_steps
        # The gradient of the cross-entropy by the logits is what is predicted less what is wanted.
        error = logs.exp_().sub_(recipe.label_smoothing / classes)
        error.scatter_add_(2, labels, error.new_full(labels.shape, recipe.label_smoothing - 1))
        error *= counts / size
        rate = recipe.learning_rate * schedule(step, steps)
        weight.descend(torch.bmm(error.transpose(1, 2), batch), rate, step)
        bias.descend(error.sum(1, keepdim=True), rate, step)
        if step % 20 == 0:
            report(step)
    report(steps)
    weights, biases = weight.value.cpu().numpy(), bias.value[:, 0].cpu().numpy()
    for at, problem in enumerate(problems):
        # A class that a head never saw it cannot know; far from what it saw, a plane would still guess it.
        absent = np.bincount(problem.labels, problem.weights, minlength=classes) == 0
        weights[at, absent], biases[at, absent] = 0, _IMPOSSIBLE
    return [Head(weights[at], biases[at], loss, steps) for at, loss in enumerate(tail.tolist())]


def _counts(drawn: Sequence[Problem], device: torch.device) -> torch.Tensor | float:
    """How much each image of a step counts, shape (heads, images, 1); 1 where all count the same."""
    import torch

    if all(one.weights is None for one in drawn):
        return 1.0
    weights = [np.ones(len(one.rows), np.float32) if one.weights is None else one.weights for one in drawn]
    return torch.from_numpy(np.stack(weights)).to(device)[..., None]


class _Parameter:
    """A tensor under AdamW. torch.optim's is as fast, and costs a second and a half of imports."""

    def __init__(self, shape: tuple[int, ...], device: torch.device, weight_decay: float) -> None:
        import torch

        self.value = torch.zeros(shape, device=device)
        self._decay = weight_decay
        self._mean, self._square, self._root = (torch.zeros(shape, device=device) for _ in range(3))

    def descend(self, gradient: torch.Tensor, rate: float, step: int) -> None:
        self._mean.lerp_(gradient, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        self._root.copy_(self._square).div_(1 - _BETAS[1] ** (step + 1)).sqrt_().add_(1e-8)
        self.value.mul_(1 - rate * self._decay)
        self.value.addcdiv_(self._mean, self._root, value=-rate / (1 - _BETAS[0] ** (step + 1)))


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
