"""A trainer and a validator that work and take milliseconds: nearest class centroid on tiny pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Images, Input, Model, PredictTask, Progress, TrainTask
from dupekit.dataset.cache import Cache


@dataclass(frozen=True, slots=True)
class CentroidOptions:
    size_px: int = field(default=8, metadata={"help": "side of the square that an image is scaled into"})


class CentroidTrainer:
    """Averages the images of each class. Nothing in it is random, so that its seed has no effect."""

    Options: ClassVar[type] = CentroidOptions
    produces: ClassVar[str] = "centroids"

    def train(self, task: TrainTask, progress: Progress) -> Model:
        """The model is an .npz file: `centroids` (classes, size_px²) float32, zeros for a class without
        images, and `counts` (classes,), the number of images behind each."""
        given = Input("pixels", size_px=task.options.size_px, channels=1, mean=(0.0,), std=(1.0,))
        pixels = _pixels(task.cache, task.images, given, progress)
        counts = np.bincount(task.labels, minlength=len(task.classes))
        sums = np.zeros((len(task.classes), pixels.shape[1]), np.float32)
        np.add.at(sums, task.labels, pixels)
        path = task.workdir / "centroids.npz"
        np.savez(path, centroids=sums / np.maximum(counts, 1)[:, None].astype(np.float32), counts=counts)
        progress("training", 1, 1)
        return Model(path, self.produces, task.classes, given, {"smallest_class": int(counts.min())})


@dataclass(frozen=True, slots=True)
class CentroidValidatorOptions:
    temperature: float = field(
        default=0.01, metadata={"help": "squared distance that makes a class e times less probable"}
    )


class CentroidValidator:
    """Softmax over the mean squared distances to the centroids; 0 for a class that had no images."""

    Options: ClassVar[type] = CentroidValidatorOptions
    accepts: ClassVar[frozenset[str]] = frozenset({"centroids"})

    def predict(self, task: PredictTask, progress: Progress) -> NDArray[np.float32]:
        """Class probabilities, shape (len(images), len(model.classes)); rows sum to 1."""
        with np.load(task.model.path) as file:
            centroids, counts = file["centroids"], file["counts"]
        pixels = _pixels(task.cache, task.images, task.model.input, progress)
        distance = ((pixels[:, None, :] - centroids[None]) ** 2).mean(axis=2)
        logits = np.where(counts > 0, -distance / task.options.temperature, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        progress("predicting", len(pixels), len(pixels))
        probabilities: NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
        return probabilities.astype(np.float32)


def _pixels(cache: Cache, images: Images, given: Input, progress: Progress) -> NDArray[np.float32]:
    rows = cache.pixels(
        images, size_px=given.size_px, channels=given.channels, fit=given.fit, progress=progress
    )
    width = given.size_px * given.size_px * given.channels
    return rows[:].reshape(len(rows), width).astype(np.float32) / np.float32(255)
