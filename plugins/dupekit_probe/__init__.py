"""Trainer "probe": features of a frozen, pretrained network once, then a small linear head per run.

The cheapest trainer, and the default: its whole round costs little more than one pass of the network over
the images. Importing it loads neither torch nor onnxruntime; training does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from dupekit.api import Model, Progress, TrainTask
from dupekit_probe.options import ProbeOptions

__all__ = ["ProbeOptions", "ProbeTrainer"]


class ProbeTrainer:
    """Trains linear classifiers on the features of a frozen, pretrained network."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = ProbeOptions
    produces: ClassVar[str] = "onnx"

    def train(self, task: TrainTask[ProbeOptions], progress: Progress) -> Model:
        """A model for one task; see `train_many`."""
        return next(self.train_many([task], progress))

    def train_many(self, tasks: Sequence[TrainTask[ProbeOptions]], progress: Progress) -> Iterator[Model]:
        """A model for each task, in order: the pool's features once, then all heads as one problem.

        The tasks have equal options, classes, pool, device and cache. Raises OptionError and UsageError
        for options and devices that cannot be had, PluginError where the backbone cannot be made or
        fails, where a task has no images, and where a training diverges.
        """
        from dupekit_probe.training import train_tasks

        yield from train_tasks(tasks, progress)
