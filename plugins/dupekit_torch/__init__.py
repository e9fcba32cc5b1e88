"""The trainer "torch": trains a convolutional network on GPU or CPU and exports it to ONNX.

Importing this module loads no torch; the first training does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dupekit.api import Model, Progress, TrainTask, stage
from dupekit_torch.options import Options

if TYPE_CHECKING:
    from dupekit_torch.worker import Worker

__all__ = ["Options", "TorchTrainer"]

_Task = TrainTask[Options]


@dataclass(frozen=True, slots=True)
class _Likeness:
    """Equal for tasks that can share a worker."""

    options: Options
    classes: tuple[str, ...]
    device: str
    cache: Path
    pool: str


class TorchTrainer:
    """Trains networks from the project's cached pixels.

    Keeps pixels, network, compiled step and exported graph for the next run, as long as options,
    classes, device and pool stay the same.
    """

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = Options
    produces: ClassVar[str] = "onnx"

    def __init__(self) -> None:
        self._likeness: _Likeness | None = None
        self._worker: Worker | None = None

    def train(self, task: _Task, progress: Progress) -> Model:
        """One training. The model lies in `task.workdir` as "model.onnx".

        Raises OptionError for options that do not fit the data, UsageError for a device that is not
        there, PluginError where a training cannot be done, JobError where it is cancelled.
        """
        (model,) = self.train_many([task], progress)
        return model

    def train_many(self, tasks: Sequence[_Task], progress: Progress) -> Iterator[Model]:
        """Several trainings at once where that is faster; the same models as `train` makes one by one.

        Raises as `train` for the first that fails; those after it have to be asked for again.
        """
        if tasks:
            yield from self._worker_for(tasks[0], progress).run(tasks, progress)

    def prepare(self, task: _Task, progress: Progress) -> None:
        """Decodes the pool into the cache, as the trainings will read it."""
        from dupekit_torch.shared import decoded

        decoded(task, progress)

    def _worker_for(self, task: _Task, progress: Progress) -> Worker:
        with stage(progress, "importing PyTorch"):
            from dupekit_torch.worker import Worker

        pool = hashlib.sha256("".join(task.pool.digests).encode()).hexdigest()
        likeness = _Likeness(task.options, task.classes, task.device, task.cache.folder, pool)
        if self._worker is None or likeness != self._likeness:
            self._worker = None  # frees the device's memory before the next one fills it
            self._worker = Worker(task, progress)
            self._likeness = likeness
        return self._worker
