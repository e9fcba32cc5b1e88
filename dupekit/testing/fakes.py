"""Fakes: a trainer and a validator that work and take milliseconds, nearest class centroid on tiny pixels; a progress."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Cache, Ge, Gt, Images, Le, Model, PixelInput, PredictTask, Progress, TrainTask


@dataclass(frozen=True, slots=True)
class CentroidOptions:
    size_px: Annotated[int, Ge(1), Le(1024)] = field(
        default=8, metadata={"help": "side of the square that an image is scaled into"}
    )


class CentroidTrainer:
    """Averages the images of each class. Nothing in it is random, so that its seed has no effect."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = CentroidOptions
    produces: ClassVar[str] = "centroids"

    def train(self, task: TrainTask[CentroidOptions], progress: Progress) -> Model:
        """The model is an .npz file: `centroids` (classes, size_px²) float32, zeros for a class without
        images, and `counts` (classes,), the (weighted) number of images behind each."""
        given = PixelInput(task.options.size_px, channels=1, mean=(0.0,), std=(1.0,))
        pixels = _pixels(task.cache, task.pool.take(task.rows), given, progress)
        weights = np.ones(len(task.rows), np.float32) if task.weights is None else task.weights
        counts = np.bincount(task.labels, weights, minlength=len(task.classes))
        sums = np.zeros((len(task.classes), pixels.shape[1]), np.float32)
        np.add.at(sums, task.labels, pixels * weights[:, None])
        divisor = np.where(counts > 0, counts, 1)[:, None].astype(np.float32)
        path = task.workdir / "centroids.npz"
        np.savez(path, centroids=sums / divisor, counts=counts)
        progress("training", 1, 1)
        return Model(path, self.produces, task.classes, given, {"smallest_class": float(counts.min())})


@dataclass(frozen=True, slots=True)
class CentroidValidatorOptions:
    temperature: Annotated[float, Gt(0)] = field(
        default=0.01, metadata={"help": "squared distance that makes a class e times less probable"}
    )


class CentroidValidator:
    """Softmax over the mean squared distances to the centroids; 0 for a class that had no images."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = CentroidValidatorOptions
    accepts: ClassVar[frozenset[str]] = frozenset({"centroids"})

    def predict(
        self, task: PredictTask[CentroidValidatorOptions], progress: Progress
    ) -> Iterator[NDArray[np.float32]]:
        """Class probabilities in one block, shape (len(rows), len(model.classes)); its rows sum to 1."""
        given = task.model.input
        assert isinstance(given, PixelInput)
        with np.load(task.model.path) as file:
            centroids, counts = file["centroids"], file["counts"]
        pixels = _pixels(task.cache, task.pool.take(task.rows), given, progress)
        distance = ((pixels[:, None, :] - centroids[None]) ** 2).mean(axis=2)
        logits = np.where(counts > 0, -distance / task.options.temperature, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        progress("predicting", len(pixels), len(pixels))
        yield (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a `Progress`."""

    stage: str
    done: int
    total: int
    figures: dict[str, float]


class Recorder:
    """A `Progress` that keeps what it is told; set `cancelled` to see a plugin stop."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.cancelled = False

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        self.calls.append(Call(stage, done, total, figures))


def _pixels(cache: Cache, images: Images, given: PixelInput, progress: Progress) -> NDArray[np.float32]:
    rows = cache.pixels(
        images, size_px=given.size_px, channels=given.channels, fit=given.fit, progress=progress
    )
    width = given.size_px * given.size_px * given.channels
    return rows[:].reshape(len(rows), width).astype(np.float32) / np.float32(255)
