"""A trainer and a validator that cost next to nothing, for benchmarks/scale.py: they read no image.

Each image's class is told from its path. Of a hundred images, by their rows, five are said to be of the next class in every run,
and ten more in half of the runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Model, PixelInput, PredictTask, Progress, TrainTask

BLOCK = 8192


@dataclass(frozen=True, slots=True)
class NoOptions:
    """None."""


class Trivial:
    """Trainer and validator in one."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = NoOptions
    produces: ClassVar[str] = "trivial"
    accepts: ClassVar[frozenset[str]] = frozenset({"trivial"})

    def train(self, task: TrainTask[NoOptions], progress: Progress) -> Model:
        path = task.workdir / "model.trivial"
        path.write_text(str(task.seed), encoding="utf-8")
        progress("training", 1, 1)
        return Model(path, self.produces, task.classes, PixelInput(8, channels=1, mean=(0.0,), std=(1.0,)))

    def predict(self, task: PredictTask[NoOptions], progress: Progress) -> Iterator[NDArray[np.float32]]:
        rng = np.random.default_rng(int(task.model.path.read_text(encoding="utf-8")))
        number = {label: i for i, label in enumerate(task.model.classes)}
        for start in range(0, len(task.rows), BLOCK):
            rows = task.rows[start : start + BLOCK]
            paths = task.pool.take(rows).paths
            own = np.array([number[path.partition("/")[0]] for path in paths])
            turned = (rows % 100 < 5) | ((rows % 100 < 15) & (rng.random(len(rows)) < 0.5))
            block = rng.random((len(rows), len(number)), np.float32)
            block /= block.sum(axis=1, keepdims=True) * 2
            block[np.arange(len(rows)), (own + turned) % len(number)] += 0.5
            progress("predicting", start, len(task.rows))
            yield block
