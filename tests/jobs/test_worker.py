"""The worker: job folders in, predictions and results out, whatever the plugins do."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from dupekit.api import Job, Model, PredictTask, Progress, TrainTask, silent
from dupekit.errors import JobError
from dupekit.jobs.files import JOB, PREDICTIONS, RESULT, ResultFile, read_model, read_result
from dupekit.jobs.local import LocalExecutor, LocalOptions
from dupekit.jobs.predictions import PredictionReader, write_predictions
from dupekit.jobs.worker import run_jobs
from dupekit.testing import CentroidTrainer, CentroidValidator, make_dataset, make_jobs
from tests.support import TalkativeTrainer


@pytest.fixture
def jobs(tmp_path: Path, fast: dict[str, object]) -> list[Job]:
    data = make_dataset(tmp_path / "data", per_class=8)
    return make_jobs(tmp_path / "round", data, pairs=2)


def errors(jobs: Sequence[Job]) -> list[str | None]:
    """How the worker says that these ended, in their order."""
    outcomes = list(run_jobs(jobs, silent))
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


@pytest.fixture
def many(monkeypatch) -> type[Many]:
    monkeypatch.setattr(Many, "asked", [])
    monkeypatch.setattr("dupekit.testing.CentroidTrainer", Many)
    return Many


@pytest.mark.parametrize(
    ("how", "said"), [("raises", "out of luck"), ("ends", "ended before"), ("lies", "broke its contract")]
)
@pytest.mark.parametrize("position", [0, 2, 3])
def test_of_many_at_once_one_fails_alone(jobs, many, monkeypatch, position: int, how: str, said: str) -> None:
    monkeypatch.setattr(many, "how", how)
    monkeypatch.setattr(many, "wrong", {jobs[position].name})
    outcomes = errors(jobs)
    assert [bool(error) for error in outcomes] == [number == position for number in range(4)]
    assert said in outcomes[position]
    log = (jobs[position].folder / "log.txt").read_text()
    assert said in log
    assert "Traceback" in log


def test_where_each_would_fail_not_all_are_tried(jobs, many, monkeypatch) -> None:
    monkeypatch.setattr(many, "wrong", {job.name for job in jobs})
    outcomes = errors(jobs)
    assert outcomes == ["RuntimeError: out of luck"] * 4
    assert many.asked == [4, 3]


@pytest.mark.parametrize("wrong", ["logits", "nan", "shape"])
def test_what_is_not_probabilities_is_refused(jobs, monkeypatch, wrong: str) -> None:
    right = CentroidValidator.predict

    def predict(self: CentroidValidator, task: PredictTask, progress: Progress) -> Iterator[np.ndarray]:
        (rows,) = right(self, task, progress)
        yield {"logits": np.log(rows), "nan": rows * np.nan, "shape": rows[1:]}[wrong]

    monkeypatch.setattr(CentroidValidator, "predict", predict)
    with np.errstate(divide="ignore"):
        outcomes = errors(jobs)
    assert all("not what was asked for: probabilities of shape" in error for error in outcomes)


def test_jobs_are_relative_to_their_folder(jobs, tmp_path) -> None:
    moved = tmp_path / "mounted" / "elsewhere"
    moved.parent.mkdir()
    (tmp_path / "round").rename(moved)
    assert errors([Job(job.name, moved / "runs" / job.name) for job in jobs]) == [None] * 4


def test_the_local_executor_follows_links(jobs, tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "round")
    linked = [Job(job.name, tmp_path / "link" / "runs" / job.name) for job in jobs]
    outcomes = list(LocalExecutor().run(linked, LocalOptions(), silent))
    assert [(outcome.job, outcome.error) for outcome in outcomes] == [(job, None) for job in linked]


def test_of_many_messages_few_are_passed_on(tmp_path, fast) -> None:
    """Of each stage the first and the last, whatever other stage goes on beside it."""
    jobs = make_jobs(tmp_path, make_dataset(tmp_path / "data", per_class=8), trainer="talkative")
    calls: list[tuple[str, int]] = []

    def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
        calls.append((stage, done))

    outcomes = list(LocalExecutor().run(jobs, LocalOptions(), progress))
    assert [outcome.error for outcome in outcomes] == [None, None]
    steps = [done for stage, done in calls if stage == "stepping"]
    assert steps.count(1) == steps.count(TalkativeTrainer.STEPS) == 2
    assert len(steps) < TalkativeTrainer.STEPS / 2  # so many would take a quarter of an hour
    assert sum(stage == "looking back" for stage, _ in calls) < TalkativeTrainer.STEPS / 2
    assert {stage for stage, _ in calls} == {"stepping", "looking back", "decoding", "training", "predicting"}


def test_closing_the_local_executor_ends_its_worker(jobs) -> None:
    outcomes = LocalExecutor().run(jobs, LocalOptions(), silent)
    next(outcomes)
    outcomes.close()
    assert next(outcomes, None) is None


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


@pytest.mark.parametrize("damage", ["truncated", "other array", "gone"])
def test_damaged_predictions_are_said(tmp_path, damage: str) -> None:
    write_predictions(tmp_path, images=np.arange(5), probabilities=np.full((5, 2), 0.5, np.float32))
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
    list(run_jobs(jobs[:1], silent))
    result = json.loads((jobs[0].folder / RESULT).read_text())
    assert result["schema"] == "dupekit/result/1"
    assert {"python", "numpy", "dupekit"} <= set(result["versions"])
