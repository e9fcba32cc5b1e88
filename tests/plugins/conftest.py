"""What the tests of the executor "slurm" share: trainers that wait or crash, and job folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.api import Job
from dupekit.testing import make_dataset, make_jobs, register

TRAINERS = """
import os, signal, time
from dupekit.testing import CentroidTrainer

class Gated(CentroidTrainer):
    def train(self, task, progress):
        of_round = task.cache.folder.parent
        (of_round / f"at-{task.name}").touch()
        stop = time.monotonic() + 100
        while not (of_round / f"go-{task.name}").exists():
            assert time.monotonic() < stop  # nobody will: the test has failed
            assert not progress.cancelled
            time.sleep(0.05)
        return super().train(task, progress)

    def prepare(self, task, progress):
        task.cache.pixels(task.pool, size_px=8, channels=1, progress=progress)

class Crashing(CentroidTrainer):
    def train(self, task, progress):
        if task.name == "p01-a":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train(task, progress)
"""
Prepare = Callable[..., list[Job]]
Finish = Callable[..., None]


@pytest.fixture(scope="session")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that registers the fakes and the trainers above for every Python that has it on its path."""
    folder = register(tmp_path_factory.mktemp("trainers"))
    names = {"gated": "slow_trainers:Gated", "crashing": "slow_trainers:Crashing"}
    register(folder, {"dupekit.trainers": names}, distribution="slow")
    (folder / "slow_trainers.py").write_text(TRAINERS)
    return folder


@pytest.fixture
def workers(trainers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are started from here know those trainers."""
    monkeypatch.setenv("PYTHONPATH", str(trainers))


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("few") / "data", per_class=4)


@pytest.fixture
def prepare(tmp_path: Path, few_images: Path) -> Prepare:
    """Makes the jobs of a round in `tmp_path / round`, as `dupekit.testing.make_jobs` does."""

    def make(round_: str = "round", *, pairs: int = 1, trainer: str = "fake") -> list[Job]:
        return make_jobs(tmp_path / round_, few_images, pairs=pairs, trainer=trainer)

    return make


@pytest.fixture
def finish() -> Finish:
    """Writes the result of a job, as if a worker had done it."""

    def write(job: Job, **result: str) -> None:
        content = {"name": job.name, "status": "done", **result}
        (job.folder / "predictions.npz").touch()
        (job.folder / "result.json").write_text(json.dumps(content))

    return write
