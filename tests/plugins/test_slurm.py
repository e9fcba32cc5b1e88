"""The executor "slurm": against SLURM itself where it can be started here, else against scripted commands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dupekit.api import Job, Outcome, silent
from dupekit.errors import JobError, OptionError, PluginError
from dupekit.testing import check_executor, make_dataset, make_jobs, register

pytest.importorskip("submitit")

import dupekit_slurm.watching as watching
from dupekit_slurm import SlurmExecutor, SlurmOptions
from dupekit_slurm.arrays import Record, states, submit, work

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


# Against scripted commands.


class Commands:
    """sbatch, squeue, scancel and srun that answer as told and note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.answer("srun", "")
        self.answer("sbatch", "Submitted batch job 7")
        self.answer("squeue", "")
        self.answer("scancel", "")

    def answer(self, command: str, text: str, *, code: int = 0, error: str = "") -> None:
        (self.folder / f"{command}.out").write_text(text)
        (self.folder / f"{command}.err").write_text(error)
        script = self.folder / command
        script.write_text(
            f'#!/bin/sh\necho "$@" >> "{self.folder}/{command}.calls"\n'
            f'cat "{self.folder}/{command}.out"; cat "{self.folder}/{command}.err" >&2; exit {code}\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def calls(self, command: str) -> list[str]:
        file = self.folder / f"{command}.calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return made


QUICK = SlurmOptions(gpus=0, jobs_per_task=1, lag_s=0)


@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
class TestScripted:
    def test_results_become_outcomes(self, tmp_path: Path, commands: Commands) -> None:
        jobs = prepare(tmp_path)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        finish(jobs[0])
        finish(jobs[1], status="failed", error="out of memory")
        told: list[Any] = []

        def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
            told.append((stage, done, total, figures))

        outcomes = list(SlurmExecutor().run(jobs, QUICK, progress))
        assert outcomes == [Outcome(jobs[0]), Outcome(jobs[1], "out of memory")]
        assert told == [("SLURM tasks", 0, 2, {"pending": 1, "running": 1})]
        assert commands.calls("scancel") == []

    @pytest.mark.parametrize("state", ["TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED"])
    def test_a_task_without_results_is_an_error(self, tmp_path: Path, commands: Commands, state: str) -> None:
        jobs = prepare(tmp_path)
        finish(jobs[0])
        commands.answer("squeue", f"7_0|COMPLETED\n7_1|{state}\n")
        done, failed = SlurmExecutor().run(jobs, QUICK, silent)
        assert (done, failed.job) == (Outcome(jobs[0]), jobs[1])
        assert failed.error.startswith(f"The SLURM task 7_1 ended ({state}) before this run was done.")
        assert "7_1_0_log.err: is that on a file system that the nodes share?" in failed.error
        assert commands.calls("scancel") == []

    def test_a_task_that_slurm_has_forgotten_has_ended(self, tmp_path: Path, commands: Commands) -> None:
        jobs = prepare(tmp_path)[:1]
        commands.answer("squeue", "", code=1, error="slurm_load_jobs error: Invalid job id specified")
        folder = jobs[0].folder.parent / ".submitit"
        folder.mkdir()
        (folder / "7_0_log.err").write_text("loading\nsrun: error: node17: Killed\n")
        (failed,) = SlurmExecutor().run(jobs, QUICK, silent)
        assert "The SLURM task 7 ended (no longer known to SLURM)" in failed.error
        assert "Its last words: srun: error: node17: Killed See " in failed.error

    def test_a_silent_controller_is_waited_for_and_then_given_up(
        self, tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare(tmp_path)[:1]
        commands.answer(
            "squeue", "", code=1, error="slurm_load_jobs error: Unable to contact slurm controller"
        )
        slept: list[float] = []
        start = time.monotonic()
        monkeypatch.setattr(watching, "sleep", slept.append)
        monkeypatch.setattr(watching, "monotonic", lambda: start + 60 * len(slept))
        (failed,) = SlurmExecutor().run(jobs, SlurmOptions(timeout_min=30), silent)
        assert "Neither SLURM nor the task 7 has said anything for 40 minutes" in failed.error
        assert len(slept) == 41
        assert commands.calls("scancel") == ["--quiet 7"]

    def test_a_requeued_task_is_waited_for(
        self, tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare(tmp_path)[:1]
        story = ["7|PREEMPTED", "7|REQUEUED", "7|PENDING", "7|RUNNING", "7|COMPLETED"]
        start = time.monotonic()
        told = []

        def sleep(_: float) -> None:
            told.append(story.pop(0))
            commands.answer("squeue", told[-1])
            if not story:
                finish(jobs[0])

        monkeypatch.setattr(watching, "sleep", sleep)
        monkeypatch.setattr(watching, "monotonic", lambda: start + 20 * len(told))
        commands.answer("squeue", "7|RUNNING")
        (outcome,) = SlurmExecutor().run(jobs, SlurmOptions(lag_s=30), silent)
        assert outcome == Outcome(jobs[0])

    def test_closing_cancels_the_tasks_that_are_left(self, tmp_path: Path, commands: Commands) -> None:
        jobs = prepare(tmp_path, pairs=2)
        commands.answer("squeue", "".join(f"7_{i}|RUNNING\n" for i in range(4)))
        finish(jobs[0])
        outcomes = SlurmExecutor().run(jobs, QUICK, silent)
        assert next(outcomes) == Outcome(jobs[0])
        record = jobs[0].folder.parent / ".submitit" / "array.json"
        assert [task["jobs"] for task in json.loads(record.read_text())["tasks"]] == [
            [job.name] for job in jobs
        ]
        outcomes.close()
        assert commands.calls("scancel") == ["--quiet 7_0 7_1 7_2 7_3"]
        assert not record.exists()

    def test_a_damaged_result_is_an_outcome(self, tmp_path: Path, commands: Commands) -> None:
        jobs = prepare(tmp_path)[:1]
        (jobs[0].folder / "result.json").write_text("{")
        (outcome,) = SlurmExecutor().run(jobs, QUICK, silent)
        assert "result.json is not valid" in outcome.error

    def test_what_is_submitted(self, tmp_path: Path, commands: Commands) -> None:
        jobs = prepare(tmp_path, pairs=4)
        options = SlurmOptions(
            partition="gpu",
            account="plankton",
            jobs_per_task=3,
            parallel=2,
            mem_gb=1.5,
            setup="module load cuda",
            extra="--constraint='a100|h100' --exclusive",
        )
        tasks = submit(jobs, tmp_path / "logs", options)
        assert [task.id for task in tasks] == ["7_0", "7_1", "7_2"]
        assert [len(task.jobs) for task in tasks] == [2, 3, 3]
        assert [job for task in tasks for job in task.jobs] == jobs
        (script,) = (tmp_path / "logs").glob("*_submission.sh")
        text = script.read_text()
        for line in (
            "#SBATCH --partition=gpu",
            "#SBATCH --account=plankton",
            "#SBATCH --array=0-2%2",
            "#SBATCH --gpus-per-node=1",
            "#SBATCH --cpus-per-task=4",
            "#SBATCH --mem=1536MB",
            "#SBATCH --time=240",
            "#SBATCH --constraint='a100|h100'",
            "#SBATCH --exclusive",
            "module load cuda",
        ):
            assert line in text.splitlines()
        assert "--qos" not in text

    def test_a_job_that_dupekit_runs_in_is_not_inherited(
        self, tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", "1")
        monkeypatch.setenv("SLURM_CONF", "/cluster/slurm.conf")
        seen = tmp_path / "environment"
        (commands.folder / "sbatch").write_text(f"#!/bin/sh\nenv > '{seen}'\necho Submitted batch job 7\n")
        submit(prepare(tmp_path), tmp_path / "logs", QUICK)
        variables = [line for line in seen.read_text().splitlines() if line.startswith("SLURM_")]
        assert variables == ["SLURM_CONF=/cluster/slurm.conf"]
        assert os.environ["SLURM_JOB_ID"] == "1"

    def test_nothing_is_printed(
        self, tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
    ) -> None:
        jobs = prepare(tmp_path)
        for job in jobs:
            finish(job)
        list(SlurmExecutor().run(jobs, QUICK, silent))
        assert capsys.readouterr() == ("", "")

    def test_no_jobs_need_no_slurm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert list(SlurmExecutor().run([], QUICK, silent)) == []

    def test_without_slurm_it_says_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(PluginError, match="needs sbatch, srun, squeue, scancel") as caught:
            next(SlurmExecutor().run([Job("p01-a", tmp_path)], QUICK, silent))
        assert "login node" in caught.value.hint

    def test_states_of_other_arrays_are_left_out(self, commands: Commands) -> None:
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n71_0|FAILED\n")
        assert states(["7_0"]) == {"7_0": "RUNNING"}
        assert commands.calls("squeue") == ["--noheader --array --states=all --format=%i|%T --jobs=7"]


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


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"timeout_min": 0}, "timeout_min=0 is not at least 1"),
            ({"gpus": -1}, "gpus=-1 is not at least 0"),
            ({"mem_gb": 0}, "mem_gb=0"),
        ],
    )
    def test_what_cannot_be_is_refused(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            SlurmOptions(**given)

    @pytest.mark.parametrize("extra", ["-C a100", "--constraint a100", "--"])
    def test_extra_must_be_in_long_form(self, tmp_path: Path, commands: Commands, extra: str) -> None:
        with pytest.raises(OptionError, match=r"is not --NAME or --NAME=VALUE"):
            submit([Job("p01-a", tmp_path)], tmp_path / "logs", SlurmOptions(extra=extra))
