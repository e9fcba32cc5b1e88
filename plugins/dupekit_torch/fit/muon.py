"""Muon: steps of a matrix that are as long in every direction.

K. Jordan and others, "Muon: An optimizer for hidden layers in neural networks", 2024; scaled, and with decay, by J. Liu
and others, "Muon is Scalable for LLM Training", 2025, so that it takes AdamW's rate and decay.

PyTorch has one since 2.9, which computes in bfloat16 whatever the processor: 6 ms a step for the filters of the compact
network on one core with such instructions, 235 ms where PyTorch is kept from using
them. This one takes 5.6 ms in float32 on either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Jordan's: x (a + b x² + c x⁴), again and again, brings every x of 0 to 1 near 1."""

LENGTH = 0.2
"""Root mean square of a step's numbers, in parts of the rate: about that of AdamW's."""


class Muon:
    """Moves matrices (rows, columns) float32 down their gradients, with Nesterov's momentum and decoupled decay.

    `iterations` is how often the polynomial of Newton and Schulz is applied: five, as is usual, gave no better networks
    than three.
    """

    def __init__(
        self, matrices: Sequence[Tensor], *, weight_decay: float, momentum: float = 0.9, iterations: int = 3
    ) -> None:
        self._matrices = matrices
        self._held = [torch.zeros_like(matrix) for matrix in matrices]
        self._decay, self._momentum, self._iterations = weight_decay, momentum, iterations

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step; a matrix without a gradient stays."""
        for matrix, held in zip(self._matrices, self._held, strict=True):
            if matrix.grad is None:
                continue
            held.lerp_(matrix.grad, 1 - self._momentum)
            ahead = matrix.grad.lerp(held, self._momentum)
            length = LENGTH * max(matrix.shape) ** 0.5
            matrix.mul_(1 - learning_rate * self._decay)
            matrix.add_(orthogonal(ahead, self._iterations), alpha=-learning_rate * length)


def orthogonal(matrix: Tensor, iterations: int) -> Tensor:
    """About the nearest matrix with orthogonal rows, or columns if these are fewer: all singular values near 1, after one
    or more iterations.

    The iteration X ← (a + b X Xᵀ + c (X Xᵀ)²) X goes on with the small X Xᵀ alone, and X is multiplied by all of it once
    at the end: half of the operations where columns are nine times the rows, as of most filters.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonal(matrix.T, iterations).T
    x = matrix / (matrix.norm() + 1e-7)
    gram = x @ x.T
    product: Tensor | None = None
    for left in reversed(range(iterations)):
        factor = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal().add_(_A)
        product = factor if product is None else factor @ product
        if left:
            gram = factor @ gram @ factor
    assert product is not None
    result: Tensor = product @ x
    return result
