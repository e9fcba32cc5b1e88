"""The fakes keep the contract, and each way of breaking it is caught and named."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dupekit.api import FeatureInput, Job, Model, Outcome, PredictTask, Trainer, TrainTask, Validator, silent
from dupekit.errors import OptionError, PluginError
from dupekit.files.write import digest_file
from dupekit.testing import (
    CentroidTrainer,
    CentroidValidator,
    check_trainer,
    check_validator,
    load_images,
    make_dataset,
    make_jobs,
    register,
)


class TestDataset:
    def test_is_the_same_every_time(self, tmp_path: Path) -> None:
        one, other, third = (
            load_images(make_dataset(tmp_path / name, per_class=3, seed=seed))[0].digests
            for name, seed in (("one", 0), ("other", 0), ("third", 1))
        )
        assert one == other
        assert not set(one) & set(third)

    def test_has_the_classes_and_sizes_asked_for(self, tmp_path: Path) -> None:
        counts = {"b b": 2, "a_a": 1, "é": 0}
        images, labels, classes = load_images(
            make_dataset(tmp_path, classes=list(counts), per_class=counts, size_px=20)
        )
        assert classes == ("a_a", "b b", "é")
        assert labels.tolist() == [0, 1, 1]
        assert labels.dtype == np.int32
        assert images.paths == ["a_a/0000.png", "b b/0000.png", "b b/0001.png"]
        assert (images.sizes[:, 1] == 20).all()
        assert ((images.sizes[:, 0] >= 20) & (images.sizes[:, 0] <= 30)).all()
        assert [digest_file(image.file) for image in images] == images.digests

    def test_many_classes_are_told_apart(self, tmp_path: Path) -> None:
        jobs = make_jobs(
            tmp_path / "round",
            make_dataset(tmp_path / "data", classes=[f"c{i:02d}" for i in range(20)], per_class=6),
            trainer_options={"size_px": 16},
        )
        assert _run_here(tmp_path, jobs)["agreement"] > 0.95

    def test_a_file_that_is_no_image_is_left_out(self, tmp_path: Path) -> None:
        make_dataset(tmp_path, per_class=1)
        (tmp_path / "diatom" / "broken.png").write_bytes(b"no image")
        assert len(load_images(tmp_path)[0]) == 3


class TestFakes:
    def test_keep_the_contract(self) -> None:
        trainer: type[Trainer] = CentroidTrainer
        validator: type[Validator] = CentroidValidator
        check_trainer(trainer, validator, min_accuracy=1.0, tolerance=0)
        check_trainer(trainer)
        check_validator(validator, trainer)

    def test_a_whole_pair_of_runs_takes_no_time(self, tmp_path: Path) -> None:
        jobs = make_jobs(tmp_path / "round", make_dataset(tmp_path / "data"), trainer_options={"size_px": 6})
        result = _run_here(tmp_path, jobs)
        assert result["agreement"] == 1
        assert result["seconds"] < 10

    def test_registered_plugins_are_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(register(tmp_path))
        (point,) = metadata.entry_points(group="dupekit.trainers", name="fake")
        assert point.load() is CentroidTrainer
        assert point.dist is not None
        assert point.dist.name == "dupekit_fakes"


def _run_here(folder: Path, jobs: Sequence[Job]) -> dict[str, float]:
    """Does the jobs in this process; returns the least agreement and the seconds that they took."""
    from dupekit.jobs.files import read_result
    from dupekit.jobs.worker import run_batches

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(register(folder / "site"))
        started = time.perf_counter()
        outcomes = list(run_batches([jobs], silent))
        seconds = time.perf_counter() - started
    assert outcomes == [Outcome(job) for job in jobs]
    results = [read_result(job.folder) for job in jobs]
    return {"agreement": min(result.agreement for result in results if result), "seconds": seconds}


Change = Callable[[TrainTask, Model], Any]


def _trainer(change: Change) -> type[Trainer]:
    """The fake, with what it returns changed."""

    class Broken(CentroidTrainer):
        def train(self, task: TrainTask, progress: Any) -> Any:
            return change(task, super().train(task, progress))

    return Broken


def _elsewhere(task: TrainTask, model: Model) -> Model:
    path = model.path.rename(task.workdir.parent / "model.npz")
    return dataclasses.replace(model, path=path)


def _guess(task: TrainTask, model: Model) -> Model:
    with np.load(model.path) as file:
        centroids, counts = file["centroids"], file["counts"]
    np.savez(model.path, centroids=np.roll(centroids, 1, axis=0), counts=counts)
    return model


def _unseeded(task: TrainTask, model: Model) -> Model:
    with np.load(model.path) as file:
        centroids, counts = file["centroids"], file["counts"]
    noise = np.random.default_rng().normal(0, 0.05, centroids.shape)
    np.savez(model.path, centroids=centroids + noise, counts=counts)
    return model


def _scribble_labels(task: TrainTask, model: Model) -> Model:
    task.labels[0] = 2
    return model


def _scribble_pool(task: TrainTask, model: Model) -> Model:
    task.pool.sizes[0] = 0
    return model


def _write_beside_the_images(task: TrainTask, model: Model) -> Model:
    (task.pool[0].file.parent / "thumbnail.png").write_bytes(b"")
    return model


def _change_an_image(task: TrainTask, model: Model) -> Model:
    task.pool[int(task.rows[0])].file.write_bytes(b"")
    return model


def _fail_without_a_class(task: TrainTask, model: Model) -> Model:
    if len(np.unique(task.labels)) < len(task.classes):
        raise ValueError("a class without images")
    return model


BROKEN_TRAINERS: list[tuple[Change, str]] = [
    (lambda task, model: model.path, r"the training gave a (Posix|Windows)Path, not a dupekit.api.Model"),
    (lambda task, model: dataclasses.replace(model, format="onnx"), "format 'onnx', but it produces"),
    (lambda task, model: None, "the training gave None, not a dupekit.api.Model"),
    (
        lambda task, model: dataclasses.replace(model, classes=("copepod", "else", "dinoflagellate")),
        "classes lack 'diatom' and have 'else', which the task has not",
    ),
    (
        lambda task, model: dataclasses.replace(model, classes=model.classes[::-1]),
        "classes are not in the order of the task",
    ),
    (
        lambda task, model: dataclasses.replace(model, classes=list(model.classes)),
        "classes are a list, not a tuple",
    ),
    (lambda task, model: dataclasses.replace(model, path=task.workdir / "no"), "path is not a file: .*no"),
    (_elsewhere, "its model lies outside the task's workdir"),
    (lambda task, model: dataclasses.replace(model, notes={"loss": np.float32(1)}), "not JSON values"),
    (lambda task, model: dataclasses.replace(model, notes={"loss": float("nan")}), "not JSON values"),
    (
        lambda task, model: dataclasses.replace(model, input=dataclasses.replace(model.input, mean=())),
        "one value a channel",
    ),
    (
        lambda task, model: dataclasses.replace(model, input=FeatureInput("")),
        "does not name the cached array",
    ),
    (_guess, "easy held-out images right, fewer than 50%"),
    (_unseeded, "same task with the same seed gives a model that predicts otherwise"),
    (_scribble_labels, "changed task.labels"),
    (_scribble_pool, "changed task.pool"),
    (_write_beside_the_images, "thumbnail.png was added to the dataset's folder"),
    (_change_an_image, "copepod/.* was changed in or removed from the dataset's folder"),
    (
        _fail_without_a_class,
        r"train.. without images of a class raised ValueError: .* \(tests/testing/test_testing.py, line \d+\)",
    ),
]


class TestBrokenTrainers:
    @pytest.mark.parametrize(("change", "message"), BROKEN_TRAINERS)
    def test_is_caught(self, change: Change, message: str) -> None:
        with pytest.raises(PluginError, match=message):
            check_trainer(_trainer(change), CentroidValidator)

    def test_a_model_that_the_validator_refuses_is_the_trainers_fault(self) -> None:
        class Refusing(CentroidValidator):
            def predict(self, task: PredictTask, progress: Any) -> Any:
                raise PluginError("The file says nothing.", hint="Write metadata.")

        with pytest.raises(PluginError) as caught:
            check_trainer(CentroidTrainer, Refusing)
        assert caught.value.message == (
            "CentroidTrainer breaks its contract: Refusing refuses its model: The file says nothing. Write metadata."
        )

    def test_all_points_are_listed(self) -> None:
        class Broken(CentroidTrainer):
            def train(self, task: TrainTask, progress: Any) -> Model:
                progress("training", 2, 1)
                model = super().train(task, progress)
                if len(np.unique(task.labels)) < len(task.classes):
                    raise ValueError("a class without images")
                return _write_beside_the_images(task, _unseeded(task, model))

            def train_many(self, tasks: Sequence[TrainTask], progress: Any) -> Iterator[Model]:
                return iter([])

            def close(self) -> None:
                raise RuntimeError("still busy")

        with pytest.raises(PluginError) as caught:
            check_trainer(Broken, CentroidValidator)
        first, *points = caught.value.message.splitlines()
        assert first == "Broken breaks its contract in 6 points:"
        for point, said in zip(
            points,
            (
                "- it told progress 2 done of 1 in 'training'",
                "- the same task with the same seed gives a model that predicts otherwise",
                "- train() without images of a class raised ValueError",
                "- train_many() gave 0 models for 2 tasks",
                "- close() raised RuntimeError: still busy (tests/testing/test_testing.py, line",
                "- copepod/thumbnail.png was added to the dataset's folder",
            ),
            strict=True,
        ):
            assert point.startswith(said)

    def test_a_trainer_and_a_validator_are_told_apart(self) -> None:
        class Half(CentroidValidator):
            def predict(self, task: PredictTask, progress: Any) -> Iterator[Any]:
                (block,) = super().predict(task, progress)
                yield block / 2

        with pytest.raises(PluginError) as caught:
            check_trainer(_trainer(_fail_without_a_class), Half)
        first, *points = caught.value.message.splitlines()
        assert first == "Half and Broken break their contract:"
        assert [point.split(":")[0] for point in points] == ["- Half", "- Broken"]

    def test_weights_that_do_not_count(self) -> None:
        class Broken(CentroidTrainer):
            def train(self, task: TrainTask, progress: Any) -> Model:
                return super().train(dataclasses.replace(task, weights=None), progress)

        with pytest.raises(PluginError, match=r"passes over task\.weights: rows of weight 0 count"):
            check_trainer(Broken, CentroidValidator)

    def test_weights_that_are_refused(self) -> None:
        class Refuses(CentroidTrainer):
            def train(self, task: TrainTask, progress: Any) -> Model:
                if task.weights is not None:
                    raise PluginError("This trainer takes no weights.")
                return super().train(task, progress)

        check_trainer(Refuses, CentroidValidator)

    def test_a_required_option_is_asked_for(self) -> None:
        @dataclass(frozen=True)
        class Demanding:
            size_px: int = field(metadata={"help": "side of the square"})

        asking = type("Asking", (CentroidTrainer,), {"Options": Demanding})
        with pytest.raises(OptionError, match="Asking needs a value for 'size_px': a whole number"):
            check_trainer(asking)
        check_trainer(asking, options={"size_px": "8"})

    def test_a_trainer_that_leaves(self) -> None:
        class Broken(CentroidTrainer):
            def train(self, task: TrainTask, progress: Any) -> Model:
                sys.exit(0)

        with pytest.raises(
            PluginError, match=r"train\(\) raised SystemExit: 0 \(tests/testing/test_testing.py"
        ):
            check_trainer(Broken)

    def test_a_trainer_that_remembers(self) -> None:
        class Remembers(CentroidTrainer):
            trained = 0

            def train(self, task: TrainTask, progress: Any) -> Model:
                model = super().train(task, progress)
                with np.load(model.path) as file:
                    centroids, counts = file["centroids"], file["counts"]
                np.savez(model.path, centroids=centroids + 0.2 * self.trained, counts=counts)
                self.trained += 1
                return model

        with pytest.raises(PluginError, match="depends on those that the same instance did before"):
            check_trainer(Remembers, CentroidValidator)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (("training", 2, 1), "2 done of 1 in 'training'"),
            (("training", 0.5, 1), "0.5 done of 1"),
            (("", 0, 1), "the stage '', not a text"),
        ],
    )
    def test_progress_that_cannot_be(self, call: tuple[Any, ...], message: str) -> None:
        class Broken(CentroidTrainer):
            def train(self, task: TrainTask, progress: Any) -> Model:
                progress(*call)
                return super().train(task, progress)

        with pytest.raises(PluginError, match=message):
            check_trainer(Broken)

    def test_figures_that_are_no_numbers(self) -> None:
        class Broken(CentroidTrainer):
            def train(self, task: TrainTask, progress: Any) -> Model:
                progress("training", 0, 1, loss="0.1")
                return super().train(task, progress)

        with pytest.raises(PluginError, match=r"loss='0\.1' in 'training', not a number"):
            check_trainer(Broken)

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            (slice(None, None, -1), "its model lies outside the task's workdir"),
            (slice(1), "gave 1 models for 2 tasks"),
        ],
    )
    def test_train_many(self, order: slice, message: str) -> None:
        class Broken(CentroidTrainer):
            def train_many(self, tasks: Sequence[TrainTask], progress: Any) -> Iterator[Model]:
                yield from [self.train(task, progress) for task in tasks][order]

        with pytest.raises(PluginError, match=message):
            check_trainer(Broken)

    def test_train_many_in_order_is_right(self) -> None:
        class Right(CentroidTrainer):
            def train_many(self, tasks: Sequence[TrainTask], progress: Any) -> Iterator[Model]:
                return (self.train(task, progress) for task in tasks)

        check_trainer(Right, CentroidValidator)


class TestBrokenClasses:
    def test_an_instance(self) -> None:
        with pytest.raises(PluginError, match="is not a class"):
            check_trainer(CentroidTrainer())  # type: ignore[arg-type]

    def test_a_constructor_with_arguments(self) -> None:
        class Broken(CentroidTrainer):
            def __init__(self, size: int) -> None: ...

        with pytest.raises(
            PluginError, match=r"its constructor Broken\(size\) cannot be called without arguments"
        ):
            check_trainer(Broken)

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"produces": None}, "its produces is None, not the format"),
            ({"Options": dict}, "Options is <class 'dict'>, not a frozen dataclass"),
            ({"Options": None}, "Options is None"),
        ],
    )
    def test_attributes(self, attributes: dict[str, Any], message: str) -> None:
        with pytest.raises(PluginError, match=message):
            check_trainer(type("Broken", (CentroidTrainer,), attributes))

    def test_options(self) -> None:
        @dataclass
        class Thawed:
            size_px: int = 8

        @dataclass(frozen=True)
        class Foreign:
            array: Any = field(default_factory=lambda: np.zeros(2), metadata={"help": "no JSON"})

        @dataclass(frozen=True)
        class Lossy:
            sizes: Any = field(default=(1, 2), metadata={"help": "comes back as a list"})

        @dataclass(frozen=True)
        class Unexplained:
            size_px: int = 8

        for options, message in (
            (Thawed, "not frozen"),
            (Foreign, "do not pass through JSON"),
            (Lossy, r"come back from JSON as .*\[1, 2\]"),
            (Unexplained, "option size_px has no description"),
        ):
            with pytest.raises(PluginError, match=message):
                check_trainer(type("Broken", (CentroidTrainer,), {"Options": options}))

    def test_accepts(self) -> None:
        class Broken(CentroidValidator):
            accepts: ClassVar[Any] = {"centroids"}

        with pytest.raises(PluginError, match=r"its accepts is \{'centroids'\}, not the formats"):
            check_validator(Broken, CentroidTrainer)

    def test_a_pair_that_does_not_fit(self) -> None:
        class Other(CentroidValidator):
            accepts: ClassVar[frozenset[str]] = frozenset({"onnx"})

        with pytest.raises(PluginError, match="does not accept 'centroids', what CentroidTrainer produces"):
            check_validator(Other, CentroidTrainer)
        with pytest.raises(PluginError, match="does not accept the format 'centroids'"):
            check_trainer(CentroidTrainer, Other)


BROKEN_VALIDATORS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda rows: rows.tolist(), "block 1 of predict.. is a list, not a NumPy array"),
    (lambda rows: rows.astype(np.float64), "block 1 of predict.. holds float64, not float32"),
    (
        lambda rows: rows[:, :2],
        r"block 1 .* not of shape \(any number, 3\), a column a class: it has \(30, 2\)",
    ),
    (
        lambda rows: rows * np.float32("nan"),
        "row 0, of copepod/0000.png, gives the class 'copepod' the probability nan",
    ),
    (
        lambda rows: np.log(rows + 1e-9),
        "row 0, of copepod/0000.png, gives the class 'copepod' the probability -",
    ),
    (lambda rows: rows * np.float32(1.1), "row 0, of copepod/0000.png, sums to 1.1, not 1"),
    (lambda rows: rows[1:], "predict.. gave too few rows: 29 for 30 images"),
    (lambda rows: np.repeat(rows, 2, axis=0), "too many rows: more than the 30 images"),
    (lambda rows: np.sort(rows, axis=0) / np.sort(rows, axis=0).sum(axis=1, keepdims=True), "other rows"),
    (lambda rows: (rows + 0.1 / len(rows)) / (1 + 0.3 / len(rows)), "depends on the images beside it"),
    (lambda rows: rows[: len(rows) or 1 // len(rows)], "of no images raised ZeroDivisionError"),
]


class TestBrokenValidators:
    @pytest.mark.parametrize(("change", "message"), BROKEN_VALIDATORS)
    def test_is_caught(self, change: Callable[[Any], Any], message: str) -> None:
        class Broken(CentroidValidator):
            def predict(self, task: PredictTask, progress: Any) -> Any:
                (block,) = super().predict(task, progress)
                yield change(block)

        with pytest.raises(PluginError, match=message):
            check_validator(Broken, CentroidTrainer)

    def test_a_changed_pool(self) -> None:
        class Broken(CentroidValidator):
            def predict(self, task: PredictTask, progress: Any) -> Any:
                task.pool.sizes[:] = 0
                return super().predict(task, progress)

        with pytest.raises(PluginError, match=r"changed task\.pool"):
            check_validator(Broken, CentroidTrainer)
