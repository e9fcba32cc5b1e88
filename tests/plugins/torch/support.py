"""What the tests of the torch trainer share: images, tasks, and the smallest trainings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit.api import Cache, Images, Model, TrainTask
from dupekit.files.write import digest_file
from dupekit_torch import Options

CLASSES = ("dim", "middle", "bright")
# Few steps: a high learning rate lets the network and its running statistics settle in them.
SMALL = Options(width=8, image_size=16, epochs=10, batch_size=4, learning_rate=0.01, runs_at_once=1)


@dataclass
class Dataset:
    pool: Images
    labels: np.ndarray
    cache: Cache
    folder: Path

    def task(
        self, rows: Any = slice(None), *, name: str = "p01-a", seed: int = 1, **changes: Any
    ) -> TrainTask:
        workdir = self.folder / "runs" / f"{name}-{seed}-{len(list(self.folder.glob('runs/*')))}"
        workdir.mkdir(parents=True)
        at = np.arange(len(self.pool))[rows]
        task = TrainTask(
            name=name,
            pool=self.pool,
            rows=at,
            labels=self.labels[at],
            classes=CLASSES,
            seed=seed,
            device="cpu",
            workdir=workdir,
            cache=self.cache,
            options=SMALL,
        )
        return replace(task, **changes)

    def inputs(self, rows: Any, model: Model) -> tuple[Any, ...]:
        """What a validator would feed, made from the documentation of `PixelInput`."""
        import torch

        read = model.input
        some = self.pool.take(np.arange(len(self.pool))[rows])
        pixels = self.cache.pixels(some, size_px=read.size_px, channels=read.channels, fit=read.fit)[:]
        standard = (pixels / 255 - np.array(read.mean)) / np.array(read.std)
        made = [torch.from_numpy(np.ascontiguousarray(standard.transpose(0, 3, 1, 2), dtype=np.float32))]
        if read.log_size:
            made.append(torch.from_numpy(np.log(some.sizes).astype(np.float32)))
        return tuple(made)


def make(folder: Path, *, per_class: int, colour: bool = False, same_size: bool = False) -> Dataset:
    """Squares that differ in brightness, on grey, of various sizes."""
    rng = np.random.default_rng(5)
    paths, sizes, labels = [], [], []
    for label, name in enumerate(CLASSES):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(per_class):
            width, height = (20, 20) if same_size else rng.integers(14, 30, 2).tolist()
            pixels = rng.integers(0, 40, (height, width, 3) if colour else (height, width))
            pixels[3:-3, 3:-3] += 40 + 80 * label
            path = f"{name}/{number}.png"
            PillowImage.fromarray(pixels.astype(np.uint8)).save(folder / "data" / path)
            paths.append(path)
            sizes.append((width, height))
            labels.append(label)
    digests = [digest_file(folder / "data" / path) for path in paths]
    pool = Images(folder / "data", paths, digests, np.array(sizes, np.int32))
    return Dataset(pool, np.array(labels, np.int32), Cache(folder / "cache"), folder)


@dataclass
class Recorder:
    """A `Progress` that keeps what it is told."""

    calls: list[tuple[str, int, int, dict[str, float]]] = field(default_factory=list)
    cancelled: bool = False

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        self.calls.append((stage, done, total, figures))

    def training(self) -> list[tuple[int, int, dict[str, float]]]:
        return [(done, total, figures) for stage, done, total, figures in self.calls if stage == "training"]


class Weights:
    """In the place of the exporter, which takes seconds: saves the weights alone."""

    def __init__(self, spec: Any, codes: Any) -> None:
        pass

    def write(self, network: Any, model: Model, *, check: Any) -> None:
        import torch

        torch.save(network.state_dict(), model.path)


def same_weights(*models: Model) -> bool:
    """Whether networks that `Weights` saved are the same bit for bit."""
    import torch

    first, *others = [torch.load(model.path) for model in models]
    return all(
        first.keys() == other.keys() and all(torch.equal(first[name], other[name]) for name in first)
        for other in others
    )


def limit_memory(monkeypatch: pytest.MonkeyPatch, images: int, error: Exception) -> list[int]:
    """From now on more images at once raise the error; gives how many went through a network, each time."""
    from dupekit_torch.network.classifier import Classifier

    whole, seen = Classifier.forward, []

    def forward(self: Any, pixels: Any, log_size: Any = None) -> Any:
        seen.append(len(pixels))
        if len(pixels) > images:
            raise error
        return whole(self, pixels, log_size)

    monkeypatch.setattr(Classifier, "forward", forward)
    return seen
