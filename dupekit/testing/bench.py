"""What the checks of trainers and validators share: a tiny dataset, halved, and what is made of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Cache, Images, Model, PredictTask, Trainer, TrainTask, Validator
from dupekit.errors import PluginError
from dupekit.files.write import digest_file
from dupekit.plugin.checks import checked_blocks, model_problems
from dupekit.plugin.registry import close
from dupekit.rounds.split import split
from dupekit.testing.data import load_images, make_dataset
from dupekit.testing.findings import Broken, Findings, Listener, broken, call


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """60 images of three classes, of which every second one is held out."""

    folder: Path
    images: Images
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    held_out: NDArray[np.int64]
    device: str
    cache: Cache
    files: Mapping[str, str]
    """Digest of each file of the dataset, by its path."""

    @property
    def trained(self) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(len(self.images)), self.held_out)

    def task(
        self,
        options: Any,
        *,
        seed: int = 1,
        rows: NDArray[np.int64] | None = None,
    ) -> TrainTask[Any]:
        """A training on the images that are not held out, or on these rows."""
        name = f"p{len(list(self.folder.glob('runs/*'))):02d}-a"
        workdir = self.folder / "runs" / name
        workdir.mkdir(parents=True)
        picked = self.trained if rows is None else rows
        return TrainTask(
            name=name,
            pool=_copy(self.images),
            rows=picked.copy(),
            labels=self.labels[picked],
            classes=self.classes,
            seed=seed,
            device=self.device,
            workdir=workdir,
            cache=self.cache,
            options=options,
        )

    def check_files(self, owner: type, during: str) -> None:
        now = _digests(self.images.root)
        for path in sorted(self.files.keys() | now.keys()):
            if now.get(path) != self.files.get(path):
                what = "was added to" if path not in self.files else "was changed in or removed from"
                broken(owner, f"{path} {what} the dataset's folder during {during}")


@contextmanager
def bench(device: str) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="dupekit-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        dataset = make_dataset(folder / "dataset")
        images, labels, classes = load_images(dataset)
        held_out = np.flatnonzero(split(labels, np.arange(len(images)), seed=0))
        cache = Cache(folder / "cache")
        yield Bench(folder, images, labels, classes, held_out, device, cache, _digests(dataset))


class Trainings:
    """A trainer at work on the bench; what is wrong goes to `findings`."""

    def __init__(self, findings: Findings, bench: Bench, owner: type[Trainer[Any]], options: Any) -> None:
        self.findings, self.bench, self.owner, self.options = findings, bench, owner, options
        self.plugin: Trainer[Any] = call(owner, "its constructor", owner)

    def train(self, task: TrainTask[Any], of: str = "", *, plugin: Trainer[Any] | None = None) -> Model:
        """Raises Broken where there is no model that could be looked at further."""
        before = task.rows.copy(), task.labels.copy(), _copy(task.pool)
        progress = Listener(self.findings, self.owner)
        model = call(self.owner, f"train(){of}", lambda: (plugin or self.plugin).train(task, progress))
        for name, same in (
            ("rows", np.array_equal(task.rows, before[0])),
            ("labels", np.array_equal(task.labels, before[1])),
            ("pool", _same_images(task.pool, before[2])),
        ):
            if not same:
                self.findings.add(self.owner, f"train() changed task.{name}")
        return self.checked(model, task)

    def checked(self, model: Any, task: TrainTask[Any]) -> Model:
        """Notes all that is wrong with a model; Broken where anything is."""
        problems = model_problems(model, task, produces=self.owner.produces)
        for problem in problems:
            self.findings.add(self.owner, problem)
        if problems:
            raise Broken(self.owner, problems[0])
        return model  # type: ignore[no-any-return]

    def close(self) -> None:
        call(self.owner, "close()", lambda: close(self.plugin))


class Predictions:
    """A validator at work on the bench; what is wrong goes to `findings`, a model that it refuses to its `maker`."""

    def __init__(
        self,
        findings: Findings,
        bench: Bench,
        owner: type[Validator[Any]],
        options: Any,
        *,
        maker: type | None = None,
    ) -> None:
        self.maker = maker or owner
        self.findings, self.bench, self.owner, self.options = findings, bench, owner, options
        self.plugin: Validator[Any] = call(owner, "its constructor", owner)

    def predict(
        self, model: Model, of: str = "", *, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Predicts the held-out images, or these rows of the pool: shape (n, classes). Raises Broken."""
        if model.format not in self.owner.accepts:
            broken(self.owner, f"it does not accept the format {model.format!r}")
        wanted = self.bench.held_out if rows is None else rows
        pool = _copy(self.bench.images)
        task = PredictTask(model, pool, wanted.copy(), self.bench.device, self.bench.cache, self.options)
        progress = Listener(self.findings, self.owner)
        try:
            blocks = call(
                self.owner,
                f"predict(){of}",
                lambda: list(checked_blocks(self.plugin.predict(task, progress), task)),
            )
        except Broken as error:
            if self.maker is self.owner or not isinstance(error.cause, PluginError):
                raise
            why = ". ".join(line.rstrip(".") for line in str(error.cause).splitlines())
            broken(self.maker, f"{self.owner.__name__} refuses its model: {why}", error.cause)
        if not _same_images(pool, self.bench.images):
            self.findings.add(self.owner, "predict() changed task.pool")
        if not np.array_equal(task.rows, wanted):
            self.findings.add(self.owner, "predict() changed task.rows")
        return np.concatenate([np.empty((0, len(model.classes)), np.float32), *blocks])

    def close(self) -> None:
        call(self.owner, "close()", lambda: close(self.plugin))


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): digest_file(path) for path in folder.rglob("*") if path.is_file()
    }


def _copy(images: Images) -> Images:
    return Images(images.root, list(images.paths), list(images.digests), images.sizes.copy())


def _same_images(one: Images, other: Images) -> bool:
    return (
        (one.root, list(one.paths), list(one.digests)) == (other.root, list(other.paths), list(other.digests))
    ) and np.array_equal(one.sizes, other.sizes)
