"""One training: its steps, from a fresh network to a trained one."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dupekit.api import JobError, PluginError, Progress
from dupekit_torch.device import is_out_of_memory
from dupekit_torch.fit.progress import Meter
from dupekit_torch.fit.schedule import Schedule, one_cycle
from dupekit_torch.fit.step import Step
from dupekit_torch.network.classifier import draws
from dupekit_torch.pixels.augment import Augmentation
from dupekit_torch.pixels.batches import TrainingSet, batches

log = logging.getLogger("dupekit.torch")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What a network is trained with."""

    images: TrainingSet
    schedule: Schedule
    augmentation: Augmentation
    seed: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went."""

    loss: float
    """Mean over the last epoch."""
    seconds: float
    parts: int
    """In so many parts a batch went through the network: one, unless memory did not suffice."""


def fit(step: Step, training: Training, *, reset: Callable[[], None], progress: Progress) -> Fitted:
    """Trains the step's network in place from the weights that `reset` gives it.

    Where the network itself draws random numbers, the process's random state is set to the seed, so that no other
    training may go on beside it.

    Where memory does not suffice, the run begins again with batches in twice as many parts: their gradients
    are added up, so that batch and schedule stay, and the result is the same as if it had
    begun so. Only batch normalisation then sees smaller groups. Raises PluginError where two images at
    once are too many, JobError where the run is cancelled.
    """
    began = time.monotonic()
    device = training.images.source.device
    while True:
        reset()
        step.reset()
        try:
            with seeded(device, training.seed) if draws(step.network) else contextlib.nullcontext():
                mean_loss = _steps(step, training, progress)
            return Fitted(mean_loss, time.monotonic() - began, step.parts)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        parts = 2 * step.parts
        if (
            training.schedule.batch // parts < 2
        ):  # batch normalisation has nothing to normalise by in one image
            raise PluginError(
                "Not enough memory to train on two images at once.",
                hint="Choose a smaller image_size or model, or free the device's memory.",
            )
        at_once = math.ceil(training.schedule.batch / parts)
        log.warning("out of memory: the run begins again with %d images at once", at_once)
        step.in_parts(parts)
        if device.type == "cuda":
            step.reset()
            torch.cuda.empty_cache()


def _steps(step: Step, training: Training, progress: Progress) -> float:
    """All steps of a training; the mean loss of the last epoch."""
    images, schedule = training.images, training.schedule
    step.network.train()
    losses: deque[Tensor] = deque(maxlen=max(1, math.ceil(schedule.images / schedule.batch)))
    meter = Meter(schedule, progress, images.source.device)
    drawn = batches(
        images, training.augmentation, size=schedule.batch, count=schedule.steps, seed=training.seed
    )
    for number, batch in enumerate(drawn):
        if progress.cancelled:
            raise JobError("The training was cancelled.")
        losses.append(step(batch, schedule.learning_rate * one_cycle(number, schedule.steps)))
        meter.show(number + 1, losses[-1])
    return float(torch.stack(tuple(losses)).mean())


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
