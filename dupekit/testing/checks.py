"""Runs a plugin through its contract on a tiny dataset in a temporary folder.

Every check raises PluginError at the first thing that is broken, naming the class, what it did and what
would be right. An exception of the plugin itself is its cause.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dupekit.api import (
    Cache,
    FeatureInput,
    Images,
    Model,
    PixelInput,
    PredictTask,
    Trainer,
    TrainsMany,
    TrainTask,
    Validator,
)
from dupekit.files.write import digest_file
from dupekit.plugin.registry import options_for
from dupekit.rounds.split import split
from dupekit.testing.contract import Listener, broken, call, check_class
from dupekit.testing.data import load_images, make_dataset

_T = TypeVar("_T")


def check_trainer(
    trainer: type[Trainer[Any]],
    validator: type[Validator[Any]] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    validator_options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    min_accuracy: float = 0.5,
    tolerance: float = 1e-3,
) -> None:
    """Trains five times on 30 images of three classes, and looks at all that comes out.

    With a `validator` that reads its models, predictions are checked too: an equal task must give equal
    ones, to within `tolerance`, whatever the order of its pool; and at least `min_accuracy` of the
    held-out images must be right, where guessing gives a third. `options` as `--set` would give them,
    such as fewer epochs.
    """
    check_class(trainer, produces=str)
    with _bench(trainer, options, device) as bench:
        plugin: Trainer[Any] = call(trainer, "its constructor", trainer)
        task = bench.task("first", seed=1)
        model = _trained(bench, plugin, task)
        if validator is None:
            _trained(bench, plugin, bench.task("again", seed=1))
        else:
            judge = _Judge(bench, validator, validator_options)
            probabilities = judge.predict(model)
            _check_accuracy(trainer, probabilities, bench.labels[bench.held_out], min_accuracy)
            _check_repeatable(bench, plugin, judge, probabilities, tolerance)
        present = np.flatnonzero(~bench.second & (bench.labels != 1))
        lacking = _trained(bench, plugin, bench.task("no-class-2", seed=1, rows=present))
        if validator is not None:
            judge.predict(lacking, "of a model whose second class had no training images")
        if isinstance(plugin, TrainsMany):
            _check_many(bench, plugin)
        bench.check_files("training and predicting" if validator else "training")


def check_validator(
    validator: type[Validator[Any]],
    trainer: type[Trainer[Any]],
    *,
    options: Mapping[str, Any] | None = None,
    trainer_options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    tolerance: float = 1e-3,
) -> None:
    """Predicts 30 images with a model that `trainer` makes; all at once, in another order, one, and none.

    A row must not depend on the other images that are predicted with it, to within `tolerance`.
    """
    check_class(validator, accepts=frozenset)
    if trainer.produces not in validator.accepts:
        broken(validator, f"it does not accept {trainer.produces!r}, what {trainer.__name__} produces")
    with _bench(trainer, trainer_options, device) as bench:
        plugin: Trainer[Any] = call(trainer, "its constructor", trainer)
        model = _trained(bench, plugin, bench.task("first", seed=1))
        judge = _Judge(bench, validator, options)
        rows = judge.predict(model)
        n = len(rows)
        backwards = judge.predict(model, "of the images in reverse", rows=np.arange(n)[::-1])
        if not np.allclose(backwards[::-1], rows, atol=tolerance):
            broken(validator, "predict() gives other rows, or in another order, for images in reverse order")
        one = judge.predict(model, "of one image", rows=[n // 2])
        if not np.allclose(one[0], rows[n // 2], atol=tolerance):
            broken(validator, "what predict() says of an image depends on the images beside it")
        judge.predict(model, "of no images", rows=[])
        bench.check_files("predicting")


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """A tiny dataset, halved, and what a trainer is given of it."""

    trainer: type[Trainer[Any]]
    options: Any
    device: str
    folder: Path
    images: Images
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    second: NDArray[np.bool_]
    """True for the held-out half."""
    cache: Cache
    files: Mapping[str, str]
    """Digest of each file of the dataset, by its path."""

    @property
    def held_out(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.second)

    def task(
        self, name: str, *, seed: int, rows: NDArray[np.int64] | None = None, reverse_pool: bool = False
    ) -> TrainTask[Any]:
        rows = np.flatnonzero(~self.second) if rows is None else rows
        workdir = self.folder / "runs" / name
        workdir.mkdir(parents=True)
        order = np.arange(len(self.images))[:: -1 if reverse_pool else 1]
        return TrainTask(
            name=name,
            pool=self.images.take(order),
            rows=np.flatnonzero(np.isin(order, rows)),
            labels=self.labels[order[np.isin(order, rows)]],
            classes=self.classes,
            seed=seed,
            device=self.device,
            workdir=workdir,
            cache=self.cache,
            options=self.options,
        )

    def check_files(self, during: str) -> None:
        now = _digests(self.images.root)
        for path in sorted(self.files.keys() | now.keys()):
            if now.get(path) != self.files.get(path):
                what = "was added to" if path not in self.files else "was changed in or removed from"
                broken(self.trainer, f"{path} {what} the dataset's folder during {during}")


@contextmanager
def _bench(trainer: type[Trainer[Any]], options: Mapping[str, Any] | None, device: str) -> Iterator[_Bench]:
    with tempfile.TemporaryDirectory(prefix="dupekit-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        dataset = make_dataset(folder / "dataset")
        images, labels, classes = load_images(dataset)
        chosen = options_for(trainer, options or {})
        second = split(labels, images.digests, seed=0)
        cache = Cache(folder / "cache")
        yield _Bench(
            trainer, chosen, device, folder, images, labels, classes, second, cache, _digests(dataset)
        )


class _Judge:
    """Predicts held-out images with one validator, and checks what it gives."""

    def __init__(
        self, bench: _Bench, validator: type[Validator[Any]], options: Mapping[str, Any] | None
    ) -> None:
        check_class(validator, accepts=frozenset)
        self.bench = bench
        self.owner = validator
        self.plugin: Validator[Any] = call(validator, "its constructor", validator)
        self.options = options_for(validator, options or {})

    def predict(
        self, model: Model, of: str = "of the held-out images", *, rows: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Predicts the held-out images, or these `rows` of them."""
        if model.format not in self.owner.accepts:
            broken(self.owner, f"it does not accept the format {model.format!r}")
        held_out = self.bench.held_out
        wanted = held_out if rows is None else held_out[np.asarray(rows, np.int64)]
        pool = self.bench.images
        task = PredictTask(model, pool, wanted.copy(), self.bench.device, self.bench.cache, self.options)
        before = _copy(pool)
        progress = Listener()
        blocks = call(self.owner, f"predict() {of}", lambda: list(self.plugin.predict(task, progress)))
        progress.check(self.owner)
        if not _same_images(pool, before):
            broken(self.owner, f"predict() {of} changed task.pool")
        if not np.array_equal(task.rows, wanted):
            broken(self.owner, f"predict() {of} changed task.rows")
        shape = (len(wanted), len(model.classes))
        for block in blocks:
            if not isinstance(block, np.ndarray) or block.dtype != np.float32:
                kind = (
                    f"an array of {block.dtype}"
                    if isinstance(block, np.ndarray)
                    else f"a {type(block).__name__}"
                )
                broken(self.owner, f"predict() {of} gave {kind}, not NumPy arrays of float32")
            if block.ndim != 2 or block.shape[1] != shape[1]:
                broken(
                    self.owner, f"predict() {of} gave the shape {block.shape}, not {shape}: images, classes"
                )
        found = np.concatenate([np.empty((0, shape[1]), np.float32), *blocks])
        _check_probabilities(self.owner, of, found, shape)
        return found


def _trained(bench: _Bench, plugin: Trainer[Any], task: TrainTask[Any]) -> Model:
    before = task.rows.copy(), task.labels.copy(), _copy(task.pool)
    progress = Listener()
    model = call(bench.trainer, f"train() of {task.name!r}", lambda: plugin.train(task, progress))
    progress.check(bench.trainer)
    for name, same in (
        ("rows", np.array_equal(task.rows, before[0])),
        ("labels", np.array_equal(task.labels, before[1])),
        ("pool", _same_images(task.pool, before[2])),
    ):
        if not same:
            broken(bench.trainer, f"train() changed task.{name}")
    _check_model(bench.trainer, task, model)
    return model


def _check_model(trainer: type[Trainer[Any]], task: TrainTask[Any], model: Any) -> None:
    if not isinstance(model, Model):
        broken(trainer, f"train() returned a {type(model).__name__}, not a dupekit.api.Model")
    if model.format != trainer.produces:
        broken(trainer, f"its model has the format {model.format!r}, but it produces {trainer.produces!r}")
    if model.classes != task.classes:
        broken(
            trainer, f"its model has the classes {model.classes!r}, not those of the task, {task.classes!r}"
        )
    if not isinstance(model.path, Path) or not model.path.is_file():
        broken(trainer, f"its model's path {model.path} is not a file")
    if not model.path.resolve().is_relative_to(task.workdir.resolve()):
        broken(trainer, f"its model of {task.name!r}, {model.path}, lies outside that task's workdir")
    try:
        json.dumps(dict(model.notes), allow_nan=False)
    except (TypeError, ValueError) as error:
        broken(trainer, f"its model's notes {model.notes!r} are not JSON values: {error}")
    _check_input(trainer, model.input)


def _check_input(trainer: type[Trainer[Any]], given: Any) -> None:
    if isinstance(given, FeatureInput):
        if not given.features:
            broken(trainer, "its model reads features, but does not name the cached array")
    elif not isinstance(given, PixelInput):
        broken(
            trainer,
            f"its model's input is a {type(given).__name__}, neither dupekit.api.PixelInput nor FeatureInput",
        )
    elif given.size_px < 1 or given.channels not in (1, 3):
        broken(trainer, f"its model reads {given.channels} channels of {given.size_px} px; 1 or 3 are known")
    elif not len(given.mean) == len(given.std) == given.channels or not all(s > 0 for s in given.std):
        broken(
            trainer, f"its model's mean {given.mean} and std {given.std} are not one value a channel, std > 0"
        )


def _check_probabilities(owner: type, of: str, found: Any, expected: tuple[int, int]) -> None:
    what = f"predict() {of} gave"
    if found.shape != expected:
        broken(owner, f"{what} the shape {found.shape}, not {expected}: images, classes")
    if not np.isfinite(found).all():
        broken(owner, f"{what} values that are not finite")
    if (found < 0).any() or not np.allclose(found.sum(axis=1), 1, atol=1e-3):
        broken(owner, f"{what} rows that are not probabilities: negative, or not summing to 1")


def _check_accuracy(
    trainer: type, probabilities: NDArray[np.float32], labels: NDArray[np.int32], least: float
) -> None:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    if right < math.ceil(least * len(labels)):
        broken(
            trainer,
            f"its model has {right} of {len(labels)} easy held-out images right, fewer than {least:.0%};"
            " does it take labels for positions in classes, and keep images and labels together?",
        )


def _check_repeatable(
    bench: _Bench, plugin: Trainer[Any], judge: _Judge, first: NDArray[np.float32], tolerance: float
) -> None:
    """An equal task gives equal predictions. Where not, two more trainings find out why."""

    def differs(trainer: Trainer[Any], name: str, *, reverse_pool: bool = False) -> bool:
        model = _trained(bench, trainer, bench.task(name, seed=1, reverse_pool=reverse_pool))
        return not np.allclose(judge.predict(model), first, atol=tolerance)

    if not differs(plugin, "again", reverse_pool=True):
        return
    if differs(call(bench.trainer, "its constructor", bench.trainer), "fresh"):
        broken(bench.trainer, "the same task with the same seed gives a model that predicts otherwise")
    if differs(plugin, "third"):
        broken(bench.trainer, "a training depends on those that the same instance did before it")
    broken(bench.trainer, "a training depends on the order of task.pool")


def _check_many(bench: _Bench, plugin: Any) -> None:
    tasks = [
        bench.task("many-a", seed=1),
        bench.task("many-b", seed=2, rows=bench.held_out),
    ]
    progress = Listener()
    models = call(bench.trainer, "train_many()", lambda: list(plugin.train_many(tasks, progress)))
    progress.check(bench.trainer)
    if len(models) != len(tasks):
        broken(bench.trainer, f"train_many() gave {len(models)} models for {len(tasks)} tasks")
    for task, model in zip(tasks, models, strict=True):
        _check_model(bench.trainer, task, model)


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
