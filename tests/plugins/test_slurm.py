"""The executor "slurm" against SLURM itself, where it can be started here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dupekit.api import Job, Outcome, silent
from dupekit.errors import JobError
from dupekit.testing import check_executor, make_dataset, make_jobs, register

pytest.importorskip("submitit")

from dupekit_slurm import SlurmExecutor, SlurmOptions
from dupekit_slurm.arrays import Record, submit, work

TRAINERS = """
import os, signal, time
from dupekit.testing import CentroidTrainer

class Gated(CentroidTrainer):
    def train(self, task, progress):
        stop = time.monotonic() + 100
        while not (task.cache.folder.parent / "go").exists():
            assert time.monotonic() < stop  # nobody will: the test has failed
            time.sleep(0.05)
        return super().train(task, progress)

class Crashing(CentroidTrainer):
    def train(self, task, progress):
        if task.name == "p01-a":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train(task, progress)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Registers the fakes and the trainers above for every Python that is started from here."""
    folder = register(tmp_path / "site")
    register(
        folder,
        {"dupekit.trainers": {"gated": "slow_trainers:Gated", "crashing": "slow_trainers:Crashing"}},
        distribution="slow",
    )
    (folder / "slow_trainers.py").write_text(TRAINERS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def prepare(folder: Path, *, pairs: int = 1, trainer: str = "fake") -> list[Job]:
    return make_jobs(
        folder / "round", make_dataset(folder / "data", per_class=4), pairs=pairs, trainer=trainer
    )


def finish(job: Job, **result: str) -> None:
    (job.folder / "result.json").write_text(json.dumps({"name": job.name, "status": "done", **result}))


# Against SLURM itself.

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel")
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
KillWait=2
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
NodeName=localhost NodeHostname={host} CPUs={cpus} RealMemory=1000
PartitionName=debug Nodes=ALL Default=YES
"""
SMALL = SlurmOptions(gpus=0, cpus=1, mem_gb=0.25, timeout_min=5, jobs_per_task=1, lag_s=1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A SLURM cluster of this one machine; the path of its slurm.conf."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons are started as root")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the path of a socket may have 108 bytes
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            cpus=os.cpu_count(),
            ports=[free_port(), free_port()],
        )
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    files = [
        f"--{name}={folder}/munge.{name.split('-')[0]}"
        for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    try:
        for command in (["munged", "--force", f"--key-file={key}", *files], ["slurmctld"], ["slurmd"]):
            subprocess.run(command, check=True, env=environment, capture_output=True, timeout=30)
        wait_for(lambda: "idle" in asked(environment, "sinfo", "--noheader", "--format=%t"))
        yield configuration
    finally:
        for name in ("slurmd", "slurmctld", "munge"):
            pid_file = folder / f"{name}.pid"
            if pid_file.exists():
                os.kill(int(pid_file.read_text()), 15)
                wait_for(lambda file=pid_file: not file.exists())
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(cluster: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def asked(environment: Any, *command: str) -> str:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    ).stdout


def wait_for(condition: Any, seconds: float = 30) -> None:
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.1)


def alive() -> list[str]:
    """The tasks that SLURM still has something to do for."""
    return asked(None, "squeue", "--noheader", "--array", "--format=%i").split()


@pytest.mark.slurm
class TestCluster:
    def test_keeps_the_contract(self, tmp_path: Path, slurm: None) -> None:
        options = {"gpus": 0, "cpus": 1, "mem_gb": 0.25, "timeout_min": 5, "jobs_per_task": 1, "lag_s": 1}
        check_executor(SlurmExecutor, prepare(tmp_path), options=options)
        wait_for(lambda: not alive())

    def test_a_run_that_takes_its_worker_down_spoils_no_other(self, tmp_path: Path, slurm: None) -> None:
        jobs = prepare(tmp_path, trainer="crashing")
        options = SlurmOptions(gpus=0, cpus=1, mem_gb=0.25, timeout_min=5, jobs_per_task=2, lag_s=1)
        outcomes = {outcome.job.name: outcome for outcome in SlurmExecutor().run(jobs, options, silent)}
        assert outcomes["p01-b"].error == ""
        assert (jobs[1].folder / "predictions.npz").is_file()
        assert "ended (COMPLETED) before this run was done" in outcomes["p01-a"].error
        log = outcomes["p01-a"].error.split("See ")[1]
        assert Path(log).is_file()

    def test_a_cancelled_task_is_an_outcome(self, tmp_path: Path, slurm: None) -> None:
        def cancel_what_runs(stage: str, done: int, total: int, /, **figures: float) -> None:
            if figures["running"]:
                subprocess.run(["scancel", *alive()], check=False)

        jobs = prepare(tmp_path, trainer="gated")[:1]
        (outcome,) = SlurmExecutor().run(jobs, SMALL, cancel_what_runs)
        assert "ended (CANCELLED) before this run was done" in outcome.error
        assert str(tmp_path / "round" / "runs" / ".submitit") in outcome.error

    def test_closing_cancels_what_is_left(self, tmp_path: Path, slurm: None) -> None:
        jobs = [*prepare(tmp_path / "quick")[:1], *prepare(tmp_path / "slow", trainer="gated")]
        outcomes = SlurmExecutor().run(jobs, SMALL, silent)
        assert next(outcomes) == Outcome(jobs[0])
        assert len(alive()) >= 2
        outcomes.close()
        wait_for(lambda: not alive())
        assert not (tmp_path / "quick" / "round" / "runs" / ".submitit" / "array.json").exists()

    def test_what_a_killed_dupekit_left_running_is_taken_over(self, tmp_path: Path, slurm: None) -> None:
        jobs = prepare(tmp_path, trainer="gated")
        record = Record(jobs[0].folder.parent / ".submitit", SMALL)
        record.write(submit(jobs, record.folder, SMALL))

        def let_go(*_: object, **__: float) -> None:
            (tmp_path / "round" / "go").touch()

        outcomes = list(SlurmExecutor().run(jobs, SMALL, let_go))
        assert sorted(outcome.job.name for outcome in outcomes) == ["p01-a", "p01-b"]
        assert not any(outcome.error for outcome in outcomes)
        assert len(list(record.folder.glob("*_submission.sh"))) == 1
        assert not record.file.exists()

    def test_with_other_options_it_is_cancelled(self, tmp_path: Path, slurm: None) -> None:
        jobs = prepare(tmp_path, trainer="gated")
        record = Record(jobs[0].folder.parent / ".submitit", SlurmOptions(timeout_min=7))
        old = submit(jobs, record.folder, SMALL)
        record.write(old)
        assert Record(record.folder, SMALL).take_over(jobs) == []
        wait_for(lambda: not alive())

    def test_what_sbatch_says_is_told(self, tmp_path: Path, slurm: None) -> None:
        options = SlurmOptions(partition="nowhere", gpus=0)
        with pytest.raises(JobError, match=r"sbatch refused the job array: .*[Ii]nvalid partition"):
            next(SlurmExecutor().run(prepare(tmp_path), options, silent))


class TestWork:
    def test_does_what_has_no_result(self, tmp_path: Path, site: Path) -> None:
        jobs = prepare(tmp_path)
        finish(jobs[0])
        assert work([str(job.folder) for job in jobs]) == 0
        assert not (jobs[0].folder / "predictions.npz").exists()
        assert (jobs[1].folder / "predictions.npz").is_file()

    def test_goes_on_after_a_crash(self, tmp_path: Path, site: Path) -> None:
        jobs = prepare(tmp_path, trainer="crashing")
        assert work([str(job.folder) for job in jobs]) == 0
        assert [(job.folder / "result.json").exists() for job in jobs] == [False, True]

    def test_nothing_left_starts_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        jobs = prepare(tmp_path)
        for job in jobs:
            finish(job)
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        assert work([str(job.folder) for job in jobs]) == 0
