"""Trains linear softmax classifiers on features: those of all runs of a round at once.

Heads differ only in which images they see and in which order, so their weights are stacked and a step of
all of them is one batched matrix product. What a head becomes does not depend on which others are trained
beside it, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dupekit_probe.options import MIN_STEPS

if TYPE_CHECKING:
    import torch

_WARM_UP = 0.1
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


@dataclass(frozen=True, slots=True)
class Problem:
    """One head to be trained."""

    rows: NDArray[np.int64]
    """Shape (n,): which rows of the features."""
    labels: NDArray[np.int64]
    """Shape (n,): their classes."""
    seed: int
    """Decides the order of the images. Weights start at zero: the problem is convex."""


@dataclass(frozen=True, slots=True)
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
    progress: Callable[[int, int], None],
) -> list[Head]:
    """A head for each problem, in their order. Same problems, recipe, device: same heads.

    `features` are standardised, shape (images, dim). AdamW (I. Loshchilov and F. Hutter, ICLR 2019) with
    a linear warm-up over a tenth of the steps and a cosine to zero. `progress` is told steps done and all.
    """
    import torch

    matrix = torch.from_numpy(features).to(device)
    steps = [steps_for(len(problem.rows), recipe) for problem in problems]
    order = sorted(range(len(problems)), key=lambda at: steps[at])
    total, done = sum(set(steps)), 0
    heads: dict[int, Head] = {}
    for count, group in groupby(order, key=lambda at: steps[at]):
        members = list(group)

        def report(step: int, before: int = done) -> None:
            progress(before + step, total)

        trained = _train_group(matrix, [problems[at] for at in members], classes, recipe, count, report)
        heads.update(zip(members, trained, strict=True))
        done += count
    return [heads[at] for at in range(len(problems))]


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
    from torch.nn.functional import cross_entropy

    device, dim = matrix.device, matrix.shape[1]
    weight = torch.zeros(len(problems), dim, classes, device=device, requires_grad=True)
    bias = torch.zeros(len(problems), 1, classes, device=device, requires_grad=True)
    parts: list[dict[str, Any]] = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(
        parts, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    streams = [_Stream(problem) for problem in problems]
    tail = torch.zeros(len(problems), device=device)
    tail_steps = max(1, steps // 10)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, steps)
        picked = [stream.take(recipe.batch_size) for stream in streams]
        rows = torch.from_numpy(np.stack([rows for rows, _ in picked])).to(device)
        labels = torch.from_numpy(np.stack([labels for _, labels in picked])).to(device)
        batch = matrix[rows].float()
        logits = torch.baddbmm(bias, batch, weight)
        losses = cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=recipe.label_smoothing, reduction="none"
        ).view(labels.shape)
        optimiser.zero_grad()
        # A sum over heads: none sees another's gradient.
        losses.mean(1).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step >= steps - tail_steps:
            tail += losses.detach().mean(1) / tail_steps
        if step % 20 == 0:
            report(step)
    report(steps)
    weights = weight.detach().transpose(1, 2).contiguous().cpu().numpy()
    biases = bias.detach()[:, 0].cpu().numpy()
    return [Head(weights[at], biases[at], float(loss), steps) for at, loss in enumerate(tail.cpu().tolist())]


def schedule(step: int, steps: int) -> float:
    """The learning rate of a step as a part of the highest."""
    at = (step + 0.5) / steps
    if at < _WARM_UP:
        return at / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (at - _WARM_UP) / (1 - _WARM_UP)))


class _Stream:
    """A problem's images in random order, for ever: every one once before any twice."""

    def __init__(self, problem: Problem) -> None:
        self._rows, self._labels = problem.rows, problem.labels
        self._random = np.random.default_rng(problem.seed)
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and labels of the next images, each of shape (count,)."""
        while len(self._left) < count:
            self._left = np.concatenate([self._left, self._random.permutation(len(self._rows))])
        picked, self._left = self._left[:count], self._left[count:]
        return self._rows[picked], self._labels[picked]
