"""One training: its steps, from a fresh network to a trained one."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from dupekit.api import PluginError, Progress
from dupekit_torch.augment import Augmentation, Moves
from dupekit_torch.batches import Data, batched, epochs
from dupekit_torch.descent import Descent
from dupekit_torch.loss import Loss
from dupekit_torch.memory import is_out_of_memory
from dupekit_torch.meter import Meter
from dupekit_torch.schedule import Plan, one_cycle

log = logging.getLogger("dupekit.torch")


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went."""

    loss: float
    """Mean over the last epoch."""
    seconds: float
    parts: int
    """In so many parts a batch went through the network: one, unless memory did not suffice."""


def fit(
    model: nn.Module,
    loss: Loss,
    data: Data,
    plan: Plan,
    *,
    augmentation: Augmentation,
    weight_decay: float,
    seed: int,
    reset: Callable[[], None],
    progress: Progress,
    device: torch.device,
    parts: int = 1,
    draws: bool = False,
) -> Fitted:
    """Trains the model in place from what `reset` makes it.

    `draws` says that the network itself draws random numbers: the process's random state is then set to
    `seed`, so that no other training may go on beside it.

    Where memory does not suffice, the run begins again with batches in twice as many parts: their gradients
    are added up, so that batch and schedule stay, and the result is the same as if it had
    begun so. Only batch normalisation then sees smaller groups. Raises PluginError where two images at
    once are too many.
    """
    began = time.monotonic()
    while True:
        reset()
        model.zero_grad(set_to_none=True)
        run = _Run(model, loss, data, plan, augmentation, seed, parts, device)
        try:
            with seeded(device, seed) if draws else contextlib.nullcontext():
                mean_loss = run.steps(weight_decay, progress)
            return Fitted(mean_loss, time.monotonic() - began, parts)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        parts *= 2
        if plan.batch // parts < 2:  # batch normalisation has nothing to normalise by in one image
            raise PluginError(
                "Not enough memory to train on two images at once.",
                hint="Choose a smaller image_size or model, or free the device's memory.",
            )
        log.warning(
            "out of memory: the run begins again with %d images at once", math.ceil(plan.batch / parts)
        )
        if device.type == "cuda":
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()


class _Run:
    """The steps of one training, with batches in so many parts."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        plan: Plan,
        augmentation: Augmentation,
        seed: int,
        parts: int,
        device: torch.device,
    ) -> None:
        self.model, self.loss, self.plan = model, loss, plan
        self.parts, self.device = parts, device
        generator = torch.Generator(data.source.index_device).manual_seed(seed)
        moves = Moves(augmentation, plan.images, generator)
        drawn = batched(epochs(data, moves, generator, device), plan.batch)
        self._batches = data.source.batches(islice(drawn, plan.steps))

    def steps(self, weight_decay: float, progress: Progress) -> float:
        """Does them all; returns the mean loss of the last epoch."""
        plan = self.plan
        descent = Descent(
            self.model, learning_rate=plan.learning_rate, weight_decay=weight_decay, muon=plan.muon
        )
        self.model.train()
        losses: deque[Tensor] = deque(maxlen=max(1, math.ceil(plan.images / plan.batch)))
        meter = Meter(plan, progress, self.device)
        for step, inputs in enumerate(self._batches):
            losses.append(self._gradients(inputs))
            descent.step(plan.learning_rate * one_cycle(step, plan.steps))
            meter.show(step + 1, losses[-1])
        return float(torch.stack(tuple(losses)).mean())

    def _gradients(self, inputs: tuple[Tensor, ...]) -> Tensor:
        if self.parts == 1:
            loss = self.loss(*inputs)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        total = torch.zeros((), device=self.device)
        for some in zip(*(part.tensor_split(self.parts) for part in inputs), strict=True):
            loss = self.loss(*some) * (len(some[0]) / self.plan.batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Keeps cuDNN from choosing algorithms by timing them, which differs from process to process."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds what has no generator of its own, dropout; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
