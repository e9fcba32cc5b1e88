"""The small networks that heads are: those of many runs, stacked, so that a step of all is a few batched products.

Gradients are written out: there are two layers at most, and autograd's bookkeeping would cost as much as they do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_BETAS = 0.9, 0.999
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Shape:
    """What a head is: a linear classifier of some features, or one with a hidden layer."""

    columns: slice
    """Which of the features it reads."""
    hidden: int = 0
    """Units of its hidden layer (ReLU, half of them dropped at random in training); 0: none."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    weight: NDArray[np.float32]
    """Shape (outputs, inputs)."""
    bias: NDArray[np.float32]
    """Shape (outputs,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A trained one: its layers one after the other, a ReLU between."""

    columns: slice
    layers: tuple[Layer, ...]


class Heads:
    """The heads of one shape, one a run. A linear one begins at zero: its problem is convex."""

    def __init__(
        self,
        shape: Shape,
        seeds: Sequence[Sequence[int]],
        *,
        features: int,
        classes: int,
        weight_decay: float,
        device: torch.device,
    ) -> None:
        """`seeds` decide, a run each, where a hidden layer begins and what is dropped."""
        import torch

        self.shape = shape
        self._random = [np.random.default_rng(list(seed)) for seed in seeds]
        widths = [features, shape.hidden, classes] if shape.hidden else [features, classes]
        self._layers: list[tuple[_Parameter, _Parameter]] = []
        for inputs, outputs in itertools.pairwise(widths):
            weight = np.zeros((len(seeds), outputs, inputs), np.float32)
            if shape.hidden:
                reach = 1 / math.sqrt(inputs)
                weight[:] = [rng.uniform(-reach, reach, (outputs, inputs)) for rng in self._random]
            bias = torch.zeros(len(seeds), 1, outputs, device=device)
            self._layers.append(
                (_Parameter(torch.from_numpy(weight).to(device), weight_decay), _Parameter(bias, 0.0))
            )
        self._read: list[torch.Tensor] = []

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """In training: features (runs, images, all of them) to logits (runs, images, classes)."""
        import torch

        at = features[:, :, self.shape.columns]
        self._read = []
        for number, (weight, bias) in enumerate(self._layers):
            if number:
                at = at.relu_().mul_(self._kept(at))
            self._read.append(at)
            at = torch.baddbmm(bias.value, at, weight.value.transpose(1, 2))
        return at

    def descend(self, error: torch.Tensor, rate: float) -> None:
        """A step of AdamW against the gradient, of which `error` is that by the last logits."""
        import torch

        for number in reversed(range(len(self._layers))):
            weight, bias = self._layers[number]
            read = self._read[number]
            # What was dropped, or had no part for the ReLU, is 0; what was kept counted double.
            below = torch.bmm(error, weight.value).mul_(read > 0).mul_(2) if number else None
            weight.descend(torch.bmm(error.transpose(1, 2), read), rate)
            bias.descend(error.sum(1, keepdim=True), rate)
            if below is not None:
                error = below

    def trained(self) -> list[Head]:
        """A head for each run."""
        layers = [
            (weight.value.cpu().numpy(), bias.value[:, 0].cpu().numpy()) for weight, bias in self._layers
        ]
        return [
            Head(self.shape.columns, tuple(Layer(weight[at], bias[at]) for weight, bias in layers))
            for at in range(len(self._random))
        ]

    def _kept(self, at: torch.Tensor) -> torch.Tensor:
        """2 where a unit is kept, 0 where it is dropped: a bit of each run's own random numbers for each."""
        import torch

        images, units = at.shape[1:]
        count = images * units
        bits = [np.frombuffer(rng.bytes(-(-count // 8)), np.uint8) for rng in self._random]
        drawn = np.stack([np.unpackbits(some, count=count) for some in bits])
        return torch.from_numpy(drawn << 1).view(at.shape).to(at.device)


class _Parameter:
    """A tensor under AdamW (I. Loshchilov and F. Hutter, ICLR 2019). Importing torch.optim would cost a second and a half."""

    def __init__(self, value: torch.Tensor, weight_decay: float) -> None:
        import torch

        self.value = value
        self._decay = weight_decay
        self._mean, self._square = torch.zeros_like(value), torch.zeros_like(value)
        self._step = torch.zeros((), device=value.device)

    def descend(self, gradient: torch.Tensor, rate: float) -> None:
        import torch

        self._step += 1
        # One pass over memory instead of ten: what torch.optim.AdamW(fused=True) calls.
        torch._fused_adamw_(
            [self.value], [gradient], [self._mean], [self._square], [], [self._step],
            lr=rate, beta1=_BETAS[0], beta2=_BETAS[1], weight_decay=self._decay, eps=_EPSILON,
            amsgrad=False, maximize=False,
        )  # fmt: skip
