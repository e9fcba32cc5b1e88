"""What a task of the executor "slurm" does on its node: no SLURM is needed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dupekit.api import Job, JobState, Outcome, prepare_command
from tests.plugins.conftest import Finish, Prepare
from tests.support import until

pytestmark = [
    pytest.mark.usefixtures("workers"),
    pytest.mark.skipif(sys.platform != "linux", reason="signals, and children in /proc"),
]


def start(folder: Path, jobs: Sequence[Job]) -> subprocess.Popen[str]:
    """The command of an array's only task."""
    array = folder / "array"
    array.mkdir()
    record = {"options": {}, "tasks": [[str(job.folder) for job in jobs]]}
    (array / "array.json").write_text(json.dumps(record))
    command = [sys.executable, "-P", "-m", "dupekit_slurm", str(array), "0"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finished(jobs: Sequence[Job]) -> list[str]:
    """Those that a worker has predicted."""
    files = {job.name: job.folder / "predictions.npz" for job in jobs}
    return [name for name, file in files.items() if file.exists() and file.stat().st_size]


def test_does_what_has_no_result(tmp_path: Path, prepare: Prepare, finish: Finish) -> None:
    jobs = prepare()
    finish(jobs[0])
    _, said = (task := start(tmp_path, jobs)).communicate()
    assert (task.returncode, said) == (0, "")
    assert finished(jobs) == ["p01-b"]


def test_what_an_earlier_worker_left_is_not_the_outcome(
    tmp_path: Path, prepare: Prepare, finish: Finish
) -> None:
    (job,) = prepare(trainer="gated")[:1]
    finish(job)
    (job.folder / "predictions.npz").unlink()
    assert job.outcome() is None
    assert job.state() is JobState.WAITING
    task = start(tmp_path, [job])
    at, go = (tmp_path / "round" / f"{word}-{job.name}" for word in ("at", "go"))
    until(at.exists)
    assert not (job.folder / "result.json").exists()
    go.touch()
    task.communicate(timeout=30)
    assert job.outcome() == Outcome(job)
    assert finished([job]) == ["p01-a"]


def test_goes_on_after_a_crash(tmp_path: Path, prepare: Prepare) -> None:
    jobs = prepare(trainer="crashing")
    (task := start(tmp_path, jobs)).communicate()
    assert task.returncode == 0
    assert finished(jobs) == ["p01-b"]
    assert jobs[0].outcome() is None


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGUSR1, "SLURM ends this task (SIGUSR1): its time limit is near."),
        (
            signal.SIGTERM,
            "SLURM ends this task (SIGTERM): it was cancelled or preempted, or its time is over.",
        ),
    ],
)
def test_told_to_end_it_ends_its_worker(
    tmp_path: Path, prepare: Prepare, number: signal.Signals, why: str
) -> None:
    jobs = prepare(trainer="gated")
    task = start(tmp_path, jobs)
    until(lambda: children(task.pid))
    (worker,) = children(task.pid)
    task.send_signal(number)
    _, said = task.communicate(timeout=30)
    assert said.splitlines()[-1] == why
    assert task.returncode != 0
    assert not Path(f"/proc/{worker}").exists()
    assert [job.state() for job in jobs] == [JobState.CUT_OFF] * 2
    assert finished(jobs) == []


def test_of_an_array_that_nobody_waits_for_it_does_nothing(tmp_path: Path, prepare: Prepare) -> None:
    jobs = prepare()
    array = tmp_path / "array"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dupekit_slurm", str(array), "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"No dupekit waits for this array any more: {array / 'array.json'} is gone." in done.stderr
    assert finished(jobs) == []


@pytest.mark.parametrize(("trainer", "rows"), [("gated", 12), ("fake", 0)])
def test_what_comes_before_the_runs_fills_the_cache(
    tmp_path: Path, prepare: Prepare, trainer: str, rows: int
) -> None:
    job = prepare(trainer=trainer)[0]
    subprocess.run(prepare_command(job), check=True)
    found = list((tmp_path / "round/cache").glob("pixels-8-*/rows.bin"))
    assert sum(file.stat().st_size for file in found) == rows * 8 * 8
    assert job.state() is JobState.WAITING


def test_what_comes_before_the_runs_may_fail(prepare: Prepare) -> None:
    job = prepare(trainer="unheard of")[0]
    done = subprocess.run(prepare_command(job), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("There is no trainer 'unheard of'.")


def test_a_file_beside_the_user_takes_no_library_s_place(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = prepare()
    (tmp_path / "random.py").write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.chdir(tmp_path)
    (task := start(tmp_path, jobs)).communicate()
    assert task.returncode == 0
    assert finished(jobs) == ["p01-a", "p01-b"]


def children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
