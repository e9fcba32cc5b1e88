"""What is fixed before a training's first step: epochs, batch and learning rate.

There is no validation, no early stop and no choice of a best epoch: such a choice would have to look at labels, and the
labels of the held-out half are what is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dupekit_torch.options import COMPACT, Options

WARM_UP = 0.2
"""Share of the steps in which the learning rate rises; it falls by a half cosine in the rest."""

LEARNING_RATE = 8e-3
"""At the top, for batches of 32, of the compact network. On 1,331 plankton images, 15 epochs, rates from 4e-3 to 1.2e-2
gave the same accuracy within a point."""

MOST_GROWTH = 2.5
"""Rates grow with the batch's square root, as the noise of gradients does, up to this."""

SCRATCH_RATE, TUNING_RATE = 4e-3, 5e-4
"""The same for larger networks, of which AdamW moves more: from scratch, and from pretrained weights. Neither was
measured against others; both are as is usual."""

FEWEST_EPOCHS, MOST_EPOCHS = 12, 200
LOOKS, STEPS = 30_000, 400
"""Few images are shown until so many have been looked at and so many steps done. On 1,331 plankton images, in batches of
32, 8, 15, 23 and 45 epochs (11, 20, 31 and 60 thousand looks) gave accuracies of .721, .767, .799 and .803. Batches of 64
gave the same accuracy, and half as many steps of Muon."""

TUNING_FEWEST, TUNING_LOOKS, TUNING_STEPS = 5, 6_000, 100
"""The same where pretrained weights are tuned, where less is left to learn. On 1,331 plankton images and 2,500 photographs 5 epochs
judged as well as 15, or better: benchmarks/results/fine_tuning-cpu.txt."""

SMOOTHING = 0.1
"""From scratch, where without it the gain on planted errors was a loss on people's own. With pretrained weights 0 judged better
wherever it was measured."""

FEW = 640
"""Of fewer images batches have 32: those of 64 were measured on 1,331 only, and give very few images too few steps."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of a training of `images` images."""

    images: int
    epochs: int
    batch: int
    steps: int
    learning_rate: float

    @property
    def looks(self) -> int:
        """At images, in all epochs."""
        return self.images * self.epochs


def schedule(images: int, options: Options, *, pool: int) -> Schedule:
    """Epochs, batch and learning rate by the number of images in the round, unless they are given.

    Few images get more epochs and smaller batches, so that a network has steps enough to learn. The round's number
    counts, of which a run sees half: two halves that differ by an image shall not be trained differently.
    """
    half = max(1, pool / 2)
    least = 64 if half >= FEW else 32
    batch = options.batch_size or min(512, max(least, 2 ** round(math.log2(half / 100))))
    fewest, looks, least_steps = (
        (TUNING_FEWEST, TUNING_LOOKS, TUNING_STEPS) if options.pretrained else (FEWEST_EPOCHS, LOOKS, STEPS)
    )
    enough = max(round(looks / half), math.ceil(least_steps * batch / half))
    epochs = options.epochs or min(MOST_EPOCHS, max(fewest, enough))
    rate = options.learning_rate or _top_rate(options) * min(MOST_GROWTH, math.sqrt(batch / 32))
    steps = max(1, math.ceil(epochs * images / batch))
    return Schedule(images, epochs, batch, steps, rate)


HEAD_PACE = 10.0
"""The last layer, which begins at random, takes so many times the rate of pretrained ones."""


def smoothing(options: Options) -> float:
    """Which share of the target is spread over all classes."""
    if options.label_smoothing != "auto":
        return options.label_smoothing
    return 0.0 if options.pretrained else SMOOTHING


def with_muon(options: Options) -> bool:
    """Whether Muon moves the filters of convolutions, or AdamW moves all."""
    return not options.pretrained


def _top_rate(options: Options) -> float:
    if options.pretrained:
        return TUNING_RATE
    return LEARNING_RATE if options.model == COMPACT else SCRATCH_RATE


def one_cycle(step: int, steps: int) -> float:
    """The learning rate as a share of its peak: up in a line, down in a half cosine, never quite 0."""
    at = (step + 0.5) / steps
    if at < WARM_UP:
        return at / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (at - WARM_UP) / (1 - WARM_UP))
