"""The worker: job folders in, predictions and results out, whatever the plugins do."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dupekit.api import Job, Model, Outcome, PredictTask, Progress, TrainTask, silent
from dupekit.errors import JobError, PluginError
from dupekit.jobs.files import JOB, ResultFile, read_model, read_result
from dupekit.jobs.predictions import PredictionReader, writing_predictions
from dupekit.jobs.worker import run_batches
from dupekit.plugin.contract import PREDICTIONS, RESULT
from dupekit.testing import (
    CentroidTrainer,
    CentroidValidator,
    Recorder,
    check_trainer,
    make_dataset,
    make_jobs,
)


@pytest.fixture
def jobs(tmp_path: Path, fast: dict[str, object]) -> list[Job]:
    data = make_dataset(tmp_path / "data", per_class=8)
    return make_jobs(tmp_path / "round", data, pairs=2)


def errors(jobs: Sequence[Job]) -> list[str | None]:
    """How the worker says that these ended, in their order."""
    outcomes = list(run_batches([jobs], silent))
    assert sorted(outcome.job.name for outcome in outcomes) == sorted(job.name for job in jobs)
    return [next(outcome.error for outcome in outcomes if outcome.job == job) for job in jobs]


def test_every_image_is_predicted_once_by_the_two_halves_of_a_pair(jobs) -> None:
    assert errors(jobs) == [None] * 4
    predicted = []
    for job in jobs[:2]:
        result = read_result(job.folder)
        assert result is not None
        with PredictionReader(job.folder) as reader:
            for images, probabilities in reader.chunks(5):
                predicted += images.tolist()
                np.testing.assert_allclose(probabilities.astype(float).sum(axis=1), 1, atol=5e-3)
        assert result.images_predicted + result.images_trained == len(predicted) or job is jobs[0]
    assert sorted(predicted) == list(range(1, 25))
    assert not list(jobs[0].folder.glob("*.npz"))[1:]  # the model is gone, the predictions are there


@pytest.mark.parametrize("content", ["{}", "not json", '{"schema": "dupekit/job/2"}'])
def test_a_damaged_job_fails_alone(jobs, content: str) -> None:
    (jobs[1].folder / JOB).write_text(content)
    assert [bool(error) for error in errors(jobs)] == [False, True, False, False]
    assert read_model(jobs[1].folder / RESULT, ResultFile).status == "failed"
    assert read_result(jobs[1].folder) is None


class Many(CentroidTrainer):
    """Trains all, but goes wrong at some."""

    how = "raises"
    wrong: frozenset[str] = frozenset()
    asked: ClassVar[list[int]] = []

    def train_many(self, tasks: Sequence[TrainTask], progress: Progress) -> Iterator[Model]:
        self.asked.append(len(tasks))
        for task in tasks:
            if task.name in self.wrong and self.how == "raises":
                raise RuntimeError("out of luck")
            if task.name in self.wrong and self.how == "ends":
                return
            model = self.train(task, progress)
            lies = task.name in self.wrong and self.how == "lies"
            yield dataclasses.replace(model, classes=()) if lies else model
        if self.how == "goes on":
            yield model


@pytest.fixture
def many(monkeypatch) -> type[Many]:
    monkeypatch.setattr(Many, "asked", [])
    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Many)
    return Many


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "out of luck"),
        ("ends", "train_many() ended before it had trained every run"),
        ("lies", "The trainer 'fake' (Many) broke its contract: its model's classes lack 'copepod'"),
    ],
)
@pytest.mark.parametrize("position", [0, 2, 3])
def test_of_many_at_once_one_fails_alone(jobs, many, monkeypatch, position: int, how: str, said: str) -> None:
    monkeypatch.setattr(many, "how", how)
    monkeypatch.setattr(many, "wrong", {jobs[position].name})
    outcomes = errors(jobs)
    assert [bool(error) for error in outcomes] == [number == position for number in range(4)]
    assert said in outcomes[position]
    assert (how != "raises") == (
        "train_many() begins in tests/jobs/test_worker.py, line" in outcomes[position]
    )
    log = (jobs[position].folder / "log.txt").read_text()
    assert said in log
    assert "Traceback" in log


def test_of_many_more_models_than_tasks_are_refused(jobs, many, monkeypatch) -> None:
    monkeypatch.setattr(many, "how", "goes on")
    *others, last = errors(jobs)
    assert not any(others)
    assert "train_many() gave more models than the 4 tasks that it was asked for" in last


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": 0.5}, "its model's PixelInput.mean is 0.5, not a tuple of numbers"),
        ({"std": ("1",)}, "PixelInput.std is ('1',), not a tuple of numbers"),
        ({"size_px": 8.0}, "PixelInput.size_px is 8.0, not a whole number"),
        ({"log_size": 1}, "PixelInput.log_size is 1, not True or False"),
    ],
)
def test_an_input_of_other_types_is_refused(jobs, monkeypatch, change: Any, said: str) -> None:
    right = CentroidTrainer.train

    def train(self: CentroidTrainer, task: TrainTask[Any], progress: Progress) -> Model:
        model = right(self, task, progress)
        return dataclasses.replace(model, input=dataclasses.replace(model.input, **change))

    monkeypatch.setattr(CentroidTrainer, "train", train)
    for error in errors(jobs):
        assert said in error
        assert "train() begins in" in error


def test_a_model_that_the_validator_refuses_is_the_trainers(jobs, monkeypatch) -> None:
    def predict(self: CentroidValidator, task: PredictTask[Any], progress: Progress) -> Any:
        raise PluginError("The model is not one", hint="Write one.")

    monkeypatch.setattr(CentroidValidator, "predict", predict)
    for error in errors(jobs):
        assert error.startswith(
            "The validator 'fake' (CentroidValidator) refuses the model of the trainer 'fake'"
        )
        assert error.endswith("Write one. `dupekit plugins check fake` takes it through its contract.")


def test_where_each_would_fail_not_all_are_tried(jobs, many, monkeypatch) -> None:
    monkeypatch.setattr(many, "wrong", {job.name for job in jobs})
    outcomes = errors(jobs)
    assert len(set(outcomes)) == 1
    assert outcomes[0].startswith("RuntimeError: out of luck (tests/jobs/test_worker.py, line ")
    assert outcomes[0].endswith("`dupekit plugins check fake` takes it through its contract.")
    assert many.asked == [4, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: iter([np.log(rows)]), "gives the class 'copepod' the probability -"),
        (lambda rows: iter([rows * np.float32("nan")]), "row 0, of copepod/000"),
        (lambda rows: iter([rows * np.float32(1.05)]), "sums to 1.05, not 1"),
        (lambda rows: iter([rows.astype(np.float64)]), "block 1 of predict() holds float64, not float32"),
        (lambda rows: iter([rows[:2], rows[2:, :2]]), "block 2 of predict() is not of shape"),
        (lambda rows: iter([rows[1:]]), "predict() gave too few rows: 11 for 12 images"),
        (lambda rows: iter([rows, rows[:1]]), "more than the 12 images"),
        (lambda rows: rows, "predict() returned an array of shape (12, 3), not an iterator of blocks"),
        (lambda rows: None, "predict() returned None, not an iterator of blocks"),
    ],
)
def test_what_is_not_probabilities_is_refused(jobs, monkeypatch, change: Any, said: str) -> None:
    right = CentroidValidator.predict

    def predict(self: CentroidValidator, task: PredictTask[Any], progress: Progress) -> Any:
        with np.errstate(divide="ignore"):
            return change(next(right(self, task, progress)))

    monkeypatch.setattr(CentroidValidator, "predict", predict)
    for error in errors(jobs):
        assert "The validator 'fake' (CentroidValidator) broke its contract" in error
        assert said in error
        assert "dupekit plugins check fake" in error
        assert "predict() begins in" in error


def test_blocks_of_any_size_are_taken(jobs, monkeypatch) -> None:
    right = CentroidValidator.predict

    def predict(self: CentroidValidator, task: PredictTask[Any], progress: Progress) -> Iterator[Any]:
        (rows,) = right(self, task, progress)
        yield from (rows[:0], rows[:5], rows[5:])

    assert errors(jobs[:1]) == [None]
    before = (jobs[0].folder / PREDICTIONS).read_bytes()
    monkeypatch.setattr(CentroidValidator, "predict", predict)
    assert errors(jobs[:1]) == [None]
    assert (jobs[0].folder / PREDICTIONS).read_bytes() == before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("training", 2, 1), "it told progress 2 done of 1 in 'training'"),
        (("training", 0.5, 1), "0.5 done of 1"),
        (("", 0, 1), "the stage ''"),
        (("training", 0, 1, "0.1"), "loss='0.1' in 'training', not a number"),
        (("training", np.int64(1), np.uint8(2), np.float16(0.5)), None),
        (("training", True, 2, np.array(0.5)), None),
    ],
)
def test_worker_and_check_take_the_same_calls_of_progress(
    jobs, monkeypatch, call: Any, said: str | None
) -> None:
    class Telling(CentroidTrainer):
        def train(self, task: TrainTask[Any], progress: Progress) -> Model:
            progress(*call[:3], **({"loss": call[3]} if call[3:] else {}))
            return super().train(task, progress)

    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Telling)
    (error,) = errors(jobs[:1])
    if said is None:
        assert error is None
        check_trainer(Telling)
    else:
        assert "The trainer 'fake' (Telling) broke its contract" in error
        assert said in error
        assert "(tests/jobs/test_worker.py, line " in error
        with pytest.raises(PluginError, match=re.escape(said)):
            check_trainer(Telling)


class Counting(CentroidTrainer):
    """Notes how often it is made and closed."""

    made: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.made.append("made")

    def close(self) -> None:
        self.made.append("closed")


def test_one_trainer_does_all_jobs_and_is_closed(jobs, monkeypatch) -> None:
    monkeypatch.setattr(Counting, "made", [])
    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Counting)
    for job, size in zip(jobs, (4, 4, 5, 6), strict=True):  # three groups of like jobs
        content = json.loads((job.folder / JOB).read_text())
        content["trainer"]["options"] = {"size_px": size}
        (job.folder / JOB).write_text(json.dumps(content))
    assert errors(jobs) == [None] * 4
    assert Counting.made == ["made", "closed"]


def test_a_close_that_fails_spoils_no_run(jobs, monkeypatch, caplog) -> None:
    monkeypatch.setattr(CentroidValidator, "close", lambda self: 1 / 0, raising=False)
    assert errors(jobs) == [None] * 4
    assert "The validator 'fake' (CentroidValidator) could not be closed: ZeroDivisionError" in caplog.text


def test_sys_exit_in_a_training_fails_its_run_alone(jobs, monkeypatch) -> None:
    class Leaving(CentroidTrainer):
        def train(self, task: TrainTask[Any], progress: Progress) -> Model:
            return sys.exit(0) if task.name == "p01-b" else super().train(task, progress)

    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Leaving)
    first, second, *rest = errors(jobs)
    assert [first, *rest] == [None] * 3
    assert second.startswith(
        "The trainer 'fake' (Leaving) called sys.exit(0) (tests/jobs/test_worker.py, line "
    )


def test_nothing_is_begun_or_failed_once_nobody_waits(jobs, monkeypatch) -> None:
    progress = Recorder()

    class Stopped(CentroidTrainer):
        def train(self, task: TrainTask[Any], told: Progress) -> Model:
            if task.name == "p01-b":
                progress.cancelled = True
                raise InterruptedError
            return super().train(task, told)

    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Stopped)
    assert list(run_batches([jobs], progress)) == [Outcome(jobs[0])]
    assert [job.outcome() for job in jobs] == [Outcome(jobs[0]), None, None, None]


def test_a_trainer_that_does_not_look_begins_no_other_run(jobs, monkeypatch) -> None:
    progress = Recorder()

    class Deaf(CentroidTrainer):
        def train(self, task: TrainTask[Any], told: Progress) -> Model:
            progress.cancelled = True
            return super().train(task, silent)

    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Deaf)
    assert list(run_batches([jobs], progress)) == [Outcome(jobs[0])]


def test_jobs_are_relative_to_their_folder(jobs, tmp_path) -> None:
    moved = tmp_path / "mounted" / "elsewhere"
    moved.parent.mkdir()
    (tmp_path / "round").rename(moved)
    assert errors([Job(job.name, moved / "runs" / job.name) for job in jobs]) == [None] * 4


def test_the_worker_by_hand(jobs) -> None:
    command = [sys.executable, "-m", "dupekit.jobs"]
    done = subprocess.run(
        [*command, *(job.folder for job in jobs)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
    (jobs[0].folder / JOB).unlink()
    failed = subprocess.run([*command, jobs[0].folder], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "job.json cannot be read" in failed.stderr


def test_predictions_are_written_whole_or_not_at_all(tmp_path) -> None:
    values = np.random.default_rng(0).random((5, 2), np.float32)
    images = np.array([1, 3, 4, 8, 9])
    with writing_predictions(tmp_path, images=images, classes=2) as write:
        for start, stop in ((0, 2), (2, 2), (2, 5)):
            write(values[start:stop])
        assert not (tmp_path / PREDICTIONS).exists()
    with PredictionReader(tmp_path) as reader:
        ((numbers, rows),) = reader.chunks()
    assert rows.tolist() == values.astype(np.float16).tolist()
    assert numbers.tolist() == images.tolist()
    with np.load(tmp_path / PREDICTIONS) as arrays:
        assert arrays["probabilities"].dtype == np.float16
        assert (arrays["probabilities"] == rows).all()
    before = (tmp_path / PREDICTIONS).read_bytes()

    def write_all(blocks: list[np.ndarray]) -> None:
        with writing_predictions(tmp_path, images=images, classes=2) as write:
            for block in blocks:
                write(block)

    for blocks in ([values[:2]], [values, values[:1]], [np.zeros((5, 3), np.float32)]):
        with pytest.raises(ValueError, match="probabilities: "):
            write_all(blocks)
    assert [file.name for file in tmp_path.iterdir()] == [PREDICTIONS]
    assert (tmp_path / PREDICTIONS).read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "other array", "gone"])
def test_damaged_predictions_are_said(tmp_path, damage: str) -> None:
    with writing_predictions(tmp_path, images=np.arange(5), classes=2) as write:
        write(np.full((5, 2), 0.5, np.float32))
    file = tmp_path / PREDICTIONS
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "gone":
        file.unlink()
    else:
        np.savez(file, images=np.arange(5), probabilities=np.arange(5))
    with pytest.raises(JobError, match="cannot be read") as caught:
        PredictionReader(tmp_path)
    assert "only this run is repeated" in caught.value.hint


def test_results_are_json(jobs) -> None:
    list(run_batches([jobs[:1]], silent))
    result = json.loads((jobs[0].folder / RESULT).read_text())
    assert result["schema"] == "dupekit/result/1"
    assert {"python", "numpy", "dupekit"} <= set(result["versions"])
