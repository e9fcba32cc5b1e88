"""Trainer and validator "centroid": the nearest class mean, measured in the spread within classes.

Linear discriminant analysis on small grey pixels and the image's size. It trains in seconds on a CPU and
finds gross mistakes; whatever needs shape or texture to be told apart needs a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from dupekit.api import (
    Cache,
    Ge,
    Images,
    Le,
    Model,
    PixelInput,
    PredictTask,
    Progress,
    TrainTask,
    model_metadata,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainerOptions:
    # The covariance has size_px to the fourth values.
    size_px: Annotated[int, Ge(2), Le(64)] = field(
        default=16, metadata={"help": "side of the square that an image is scaled into"}
    )


class ExampleTrainer:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = TrainerOptions
    produces: ClassVar[str] = "centroid-npz"

    def train(self, task: TrainTask[TrainerOptions], progress: Progress) -> Model:
        """The model is an .npz file: `weights` (classes, features) and `bias` (classes,), of which
        softmax(features · weightsᵀ + bias) are the probabilities.

        Holds all training images in memory, 1 kB each with the default options.
        """
        size, images = task.options.size_px, task.pool.take(task.rows)
        pixels = task.cache.pixels(images, size_px=size, channels=1, progress=progress)[:] / 255
        given = PixelInput(
            size_px=size,
            channels=1,
            mean=(float(pixels.mean()),),
            std=(float(pixels.std()) or 1.0,),
            log_size=True,
        )
        features = read_features(task.cache, images, given, progress)
        # How far to trust distances shows on images that the means have not seen: a quarter, drawn at random.
        progress("fitting", 0, 2)
        order = np.random.default_rng(task.seed).permutation(len(features))
        unseen, seen = np.split(order, [len(order) // 4])
        share = np.ones(len(features), np.float32) if task.weights is None else task.weights
        labels, n_classes = task.labels, len(task.classes)
        weights, bias = _discriminant(features[seen], labels[seen], share[seen], n_classes)
        scale = _best_scale(features[unseen] @ weights.T + bias, labels[unseen], share[unseen])
        progress("fitting", 1, 2)
        weights, bias = _discriminant(features, labels, share, n_classes)
        progress("fitting", 2, 2)
        model = Model(
            task.workdir / "model.npz", self.produces, task.classes, given, notes={"scale": float(scale)}
        )
        np.savez(model.path, weights=weights * scale, bias=bias * scale, **model_metadata(model))  # type: ignore[arg-type]
        return model


@dataclass(frozen=True, slots=True)
class ValidatorOptions:
    batch_size: Annotated[int, Ge(1)] = field(
        default=16384, metadata={"help": "images held in memory at once"}
    )


class ExampleValidator:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = ValidatorOptions
    accepts: ClassVar[frozenset[str]] = frozenset({ExampleTrainer.produces})

    def predict(self, task: PredictTask[ValidatorOptions], progress: Progress) -> Iterator[Floats]:
        """Class probabilities, a block a batch: shape (k, len(model.classes)), rows that sum to 1."""
        given = task.model.input
        assert isinstance(given, PixelInput)
        with np.load(task.model.path) as file:
            weights, bias = file["weights"], file["bias"]
        for start in range(0, len(task.rows), task.options.batch_size):
            some = task.rows[start : start + task.options.batch_size]
            features = read_features(task.cache, task.pool.take(some), given, progress)
            yield _softmax(features @ weights.T + bias)
            progress("predicting", start + len(some), len(task.rows))


def read_features(cache: Cache, images: Images, given: PixelInput, progress: Progress) -> Floats:
    """Standardised pixels and the logarithms of width and height, shape (n, size_px² + 2)."""
    rows = cache.pixels(images, size_px=given.size_px, channels=1, progress=progress)
    pixels = rows[:].reshape(len(rows), given.size_px**2).astype(np.float32) / 255
    standardised = (pixels - given.mean[0]) / given.std[0]
    return np.hstack([standardised, images.log_sizes()]).astype(np.float32)


def _discriminant(
    features: Floats, labels: NDArray[np.int32], share: Floats, n_classes: int
) -> tuple[Floats, Floats]:
    """Weights (classes, features) and bias (classes,) of linear discriminant analysis. `share` is how much each row
    counts.

    The covariance within classes is shrunk as Ledoit and Wolf (2004) derive, so that it can be inverted
    where there are fewer images than features. A class without images gets a bias of -inf: probability 0.
    """
    features, labels, share = features[share > 0], labels[share > 0], share[share > 0]
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = (features - centre) / spread
    counts = np.bincount(labels, share, minlength=n_classes)
    means = np.zeros((n_classes, x.shape[1]), np.float32)
    np.add.at(means, labels, x * share[:, None])
    means /= np.maximum(counts, 1e-12)[:, None].astype(np.float32)
    x = (x - means[labels]) * np.sqrt(share)[:, None]
    n, dim = float(share.sum()), x.shape[1]
    covariance = (x.T @ x / n).astype(np.float64)
    mean_variance = np.trace(covariance) / dim
    distance = (covariance**2).sum() - dim * mean_variance**2
    error = ((x.astype(np.float64) ** 2).sum(axis=1) ** 2).sum() / n**2 - (covariance**2).sum() / n
    share = min(1.0, max(error, 0.0) / max(distance, 1e-12))
    shrunk = (1 - share) * covariance + (share * mean_variance + 1e-6) * np.eye(dim)
    weights = np.linalg.solve(shrunk, means.T).T / spread
    with np.errstate(divide="ignore"):
        priors = np.log(counts / n)
    bias = priors - 0.5 * (weights * spread * means).sum(axis=1) - weights @ centre
    return weights.astype(np.float32), bias.astype(np.float32)


def _best_scale(logits: Floats, labels: NDArray[np.int32], share: Floats) -> np.float32:
    """The factor by which logits give the unseen labels the highest likelihood; 1 where there are none."""
    rows = np.flatnonzero(np.isfinite(logits[np.arange(len(labels)), labels]) & (share > 0))
    if not len(rows):
        return np.float32(1)
    scales = np.geomspace(0.01, 2, 40, dtype=np.float32)
    given = [_softmax(logits[rows] * scale)[np.arange(len(rows)), labels[rows]] for scale in scales]
    likelihood = [np.average(np.log(np.maximum(one, 1e-6)), weights=share[rows]) for one in given]
    return scales[np.argmax(likelihood)]  # type: ignore[no-any-return]


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)  # type: ignore[no-any-return]
