"""The trainer "torch": trains a convolutional network on GPU or CPU and exports it to ONNX.

Importing this module loads no torch; the first training does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dupekit.api import Model, Progress, TrainTask
from dupekit_torch.options import Options

if TYPE_CHECKING:
    from dupekit_torch.worker import Key, Worker

__all__ = ["Options", "TorchTrainer"]


class TorchTrainer:
    """Trains networks from the project's cached pixels.

    Keeps pixels, network, compiled step and exported graph for the next run, as long as options,
    classes, device and pool stay the same.
    """

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = Options
    produces: ClassVar[str] = "onnx"

    def __init__(self) -> None:
        self._key: Key | None = None
        self._worker: Worker | None = None

    def train(self, task: TrainTask[Any], progress: Progress) -> Model:
        """One training. The model lies in `task.workdir` as "model.onnx".

        Raises OptionError for options that do not fit the data, UsageError for a device that is not
        there, PluginError where a training cannot be done.
        """
        return self._worker_for(task, progress).run(task, progress)

    def train_many(self, tasks: Sequence[TrainTask[Any]], progress: Progress) -> Iterator[Model]:
        """Several trainings at once where that is faster; the same models as `train` makes one by one.

        Raises as `train` for the first that fails; those after it have to be asked for again.
        """
        if tasks:
            yield from self._worker_for(tasks[0], progress).run_many(tasks, progress)

    def _worker_for(self, task: TrainTask[Any], progress: Progress) -> Worker:
        from dupekit_torch.worker import Worker, key_of

        key = key_of(task)
        if self._worker is None or key != self._key:
            self._worker = None  # frees the device's memory before the next one fills it
            self._worker = Worker(task, progress)
            self._key = key
        return self._worker
