"""The executor "slurm" against SLURM itself, where it can be started here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.api import Job, JobError, JobState, Outcome, Progress, silent
from dupekit.project import Project
from dupekit.testing import check_executor
from dupekit_slurm import SlurmExecutor, SlurmOptions
from tests.plugins.conftest import Prepare

pytestmark = pytest.mark.slurm

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
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


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
        wait_for(lambda: "idle" in asked("sinfo", "--noheader", "--format=%t", environment=environment))
        yield configuration
    finally:
        for name in ("slurmd", "slurmctld", "munge"):
            pid_file = folder / f"{name}.pid"
            if pid_file.exists():
                os.kill(int(pid_file.read_text()), 15)
                wait_for(lambda file=pid_file: not file.exists())
        shutil.rmtree(folder, ignore_errors=True)


SMALL = SlurmOptions(gpus=0, cpus=1, mem_gb=0.25, timeout_min=5, jobs_per_task=1, lag_s=0)


@pytest.fixture(autouse=True)
def slurm(cluster: Path, workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def asked(*command: str, environment: Mapping[str, str] | None = None) -> str:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    ).stdout


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.05)


def alive() -> list[str]:
    """The tasks that SLURM still has something to do for."""
    return asked("squeue", "--noheader", "--array", "--format=%i").split()


def at_work(job: Job) -> Path:
    """The file by which a trainer "gated" says that it has come to this job."""
    return job.folder.parent.parent / f"at-{job.name}"


def let_go(job: Job) -> None:
    """What it waits for then."""
    (job.folder.parent.parent / f"go-{job.name}").touch()


class WhenAtWork:
    """A `Progress` that does something once, when a trainer "gated" has come to this job."""

    cancelled = False

    def __init__(self, job: Job, action: Callable[[], object]) -> None:
        self.job, self.action, self.done = job, action, False

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        if figures["running"] and not self.done:
            wait_for(at_work(self.job).exists)
            self.action()
            self.done = True


def run(jobs: Sequence[Job], options: SlurmOptions, progress: Progress = silent) -> dict[str, str | None]:
    """The errors by the names of the jobs."""
    return {outcome.job.name: outcome.error for outcome in SlurmExecutor().run(jobs, options, progress)}


def logs(job: Job) -> dict[str, str]:
    """What the tasks of all arrays of this round have said, by the names of their logs."""
    return {log.name: log.read_text() for log in job.folder.parent.glob(".slurm/*/*.log")}


def records(job: Job) -> list[Path]:
    return list(job.folder.parent.glob(".slurm/*/array.json"))


def test_keeps_the_contract(prepare: Prepare) -> None:
    check_executor(SlurmExecutor, prepare(), options=asdict(SMALL))
    wait_for(lambda: not alive())


def test_a_run_that_takes_its_worker_down_spoils_no_other(prepare: Prepare) -> None:
    jobs = prepare("100% \"sure\" & 'safe'", trainer="crashing")
    errors = run(jobs, replace(SMALL, jobs_per_task=2, setup="echo set up"))
    assert errors["p01-b"] is None
    assert (jobs[1].folder / "predictions.npz").is_file()
    (array,) = (jobs[0].folder.parent / ".slurm").iterdir()
    assert sorted(file.name for file in array.iterdir()) == ["array.sh", "task-0.log"]
    assert (array / "task-0.log").read_text().startswith("set up\n")
    assert errors["p01-a"] is not None
    assert "_0 ended (COMPLETED) before this run was done" in errors["p01-a"]
    assert "A worker crashed, or had too little memory (SIGKILL)." in errors["p01-a"]
    assert errors["p01-a"].endswith(f"See {array / 'task-0.log'}")


def test_a_cancelled_task_is_an_outcome(prepare: Prepare) -> None:
    jobs = prepare(trainer="gated")[:1]
    cancel = WhenAtWork(jobs[0], lambda: subprocess.run(["scancel", *alive()], check=True))
    error = run(jobs, SMALL, cancel)["p01-a"]
    assert error is not None
    assert "_0 ended (CANCELLED) before this run was done" in error
    assert "CANCELLED AT" in logs(jobs[0])["task-0.log"]


def test_near_its_time_limit_a_task_ends_and_says_why(prepare: Prepare) -> None:
    def send() -> None:  # what SLURM does at --signal=B:USR1@30
        subprocess.run(["scancel", "--batch", "--signal=USR1", *alive()], check=True)

    jobs = prepare(trainer="gated")[:1]
    error = run(jobs, SMALL, WhenAtWork(jobs[0], send))["p01-a"]
    assert error is not None
    assert "_0 ended (FAILED) before this run was done." in error
    assert "Its last words: SLURM ends this task (SIGUSR1): its time limit is near." in error


def test_a_requeued_task_does_only_what_is_left(prepare: Prepare) -> None:
    jobs = quick, slow = prepare(trainer="gated")
    let_go(quick)
    finished = []

    def requeue() -> None:
        finished.append((quick.folder / "result.json").stat().st_mtime_ns)
        at_work(slow).unlink()
        subprocess.run(["scontrol", "requeue", *alive()], check=True)
        wait_for(at_work(slow).exists)
        let_go(slow)

    errors = run(jobs, replace(SMALL, jobs_per_task=2), WhenAtWork(slow, requeue))
    assert errors == {"p01-a": None, "p01-b": None}
    assert finished == [(quick.folder / "result.json").stat().st_mtime_ns]


def test_closing_cancels_what_is_left_and_the_next_begins_when_that_has_ended(prepare: Prepare) -> None:
    jobs = prepare(pairs=2, trainer="gated")
    let_go(jobs[0])
    outcomes = SlurmExecutor().run(jobs, SMALL, silent)
    assert next(outcomes) == Outcome(jobs[0])
    assert len(alive()) >= 3
    outcomes.close()
    for job in jobs[1:]:
        let_go(job)
    assert run(jobs[1:], SMALL) == {"p01-b": None, "p02-a": None, "p02-b": None}
    assert records(jobs[0]) == []


def test_what_is_cancelled_has_ended_then(prepare: Prepare) -> None:
    jobs = prepare(trainer="gated")
    SlurmExecutor().submit(jobs, SMALL, silent)
    wait_for(at_work(jobs[0]).exists)
    SlurmExecutor().cancel(jobs)
    assert alive() == []
    assert jobs[0].state() is JobState.CUT_OFF
    assert records(jobs[0]) == []


def preempt() -> None:
    """What a job of a partition does that comes before ours."""
    command = ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    subprocess.run(command, check=True, capture_output=True)


def lose_node() -> None:
    """What SLURM does when a node says nothing any more; then the node comes back."""
    for state in ("down", "resume"):
        command = ["scontrol", "update", "nodename=localhost", f"state={state}", "reason=test"]
        subprocess.run(command, check=True)


@pytest.mark.parametrize("happens", [preempt, lose_node])
def test_what_slurm_itself_requeues_is_waited_for(prepare: Prepare, happens: Callable[[], None]) -> None:
    jobs = quick, slow = prepare(trainer="gated")
    let_go(quick)

    def happen() -> None:
        at_work(slow).unlink()
        happens()
        wait_for(at_work(slow).exists, 60)
        let_go(slow)

    errors = run(jobs, replace(SMALL, jobs_per_task=2), WhenAtWork(slow, happen))
    assert errors == {"p01-a": None, "p01-b": None}


def test_decoding_comes_before_the_runs(tmp_path: Path, prepare: Prepare) -> None:
    jobs = [replace(job, prepares=True) for job in prepare(trainer="gated")]
    for job in jobs:
        let_go(job)
    assert run(jobs, replace(SMALL, decode="yes")) == {"p01-a": None, "p01-b": None}
    (decoded,) = jobs[0].folder.parent.glob(".slurm/decoded")
    assert list((tmp_path / "round/cache").glob("pixels-8-*"))
    began = min(at_work(job).stat().st_mtime for job in jobs)
    assert decoded.stat().st_mtime <= began


def leave_behind(quick: Job, slow: Job) -> Iterator[Outcome]:
    """Starts both, one a task, and does no more when the first is done, as if killed; the other waits in its task.

    The caller holds what this returns, or Python would close it."""
    let_go(quick)
    outcomes = SlurmExecutor().run([quick, slow], SMALL, silent)
    assert next(outcomes) == Outcome(quick)
    wait_for(lambda: at_work(slow).exists() and len(alive()) == 1)
    return outcomes


def test_what_a_killed_dupekit_left_running_is_taken_over(prepare: Prepare) -> None:
    quick, slow = prepare(trainer="gated")
    left = leave_behind(quick, slow)
    errors = run([slow], SMALL, WhenAtWork(slow, lambda: let_go(slow)))
    assert errors == {"p01-b": None}
    assert len(list(slow.folder.parent.glob(".slurm/*"))) == 1
    assert "CANCELLED AT" not in logs(slow)["task-1.log"]
    assert records(slow) == []
    del left


def test_with_other_options_it_is_cancelled(prepare: Prepare) -> None:
    quick, slow = prepare(trainer="gated")
    left = leave_behind(quick, slow)
    (old,) = alive()
    (log,) = slow.folder.parent.glob(".slurm/*/task-1.log")

    def when_it_is_gone() -> None:
        wait_for(lambda: old not in alive())
        let_go(slow)

    errors = run([slow], replace(SMALL, timeout_min=7), WhenAtWork(slow, when_it_is_gone))
    assert errors == {"p01-b": None}
    assert "CANCELLED AT" in log.read_text()
    del left


def test_what_sbatch_says_is_told(prepare: Prepare) -> None:
    with pytest.raises(JobError, match=r"sbatch refused the job array: .*[Ii]nvalid partition"):
        run(prepare(), replace(SMALL, partition="nowhere"))


def on_slurm(*, trainer: str = "fake", pairs: int, stage: int = 1, jobs_per_task: int) -> Choices:
    wanted = {**asdict(SMALL), "jobs_per_task": jobs_per_task}
    options = {f"executor.{name}": value for name, value in wanted.items() if value not in (None, "")}
    return Choices(
        pairs=pairs,
        stage=stage,
        trainer=trainer,
        validator="fake",
        executor="slurm",
        device="cpu",
        options=options,
    )


def test_a_detached_training_is_followed_by_its_folders_and_taken_up(
    few_images: Path, tmp_path: Path, trainers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(trainers))
    project = Project.create(few_images, tmp_path / "project")
    project.scan()
    choices = on_slurm(trainer="crashing", pairs=1, jobs_per_task=1)
    assert project.train(choices, detach=True).submitted == ["p01-a", "p01-b"]

    def states() -> dict[str, str]:
        found = project.status().submitted
        return dict(found.runs) if found else {}

    assert list(states()) == ["p01-a", "p01-b"]
    wait_for(lambda: states() == {"p01-a": "cut off", "p01-b": "done"}, 60)
    wait_for(lambda: not alive())
    again = project.train(choices, detach=True)
    assert (again.submitted, again.failed) == (["p01-a"], [])
    wait_for(lambda: states() == {"p01-a": "cut off"}, 60)
    local = Choices(trainer="crashing", executor="local")
    assert [run.name for run in project.train(local).failed] == ["p01-a"]
    assert project.status().submitted is None


def test_the_parts_of_a_round_are_arrays_one_after_the_other(
    few_images: Path, tmp_path: Path, trainers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stages, the second until the list is stable: three pairs, then two, and the sixth is not submitted."""
    monkeypatch.syspath_prepend(str(trainers))
    project = Project.create(few_images, tmp_path / "project")
    project.scan()
    choices = on_slurm(pairs=6, stage=2, jobs_per_task=3)
    done = project.train(choices, until_stable=True)
    assert (done.failed, done.left, done.waiting, done.skipped) == ([], [], [], [6])
    runs = project.path / "rounds/01/runs"
    assert sorted(len(list(array.glob("task-*.log"))) for array in runs.glob(".slurm/*")) == [2, 2]
    weighted = [json.loads(job.read_text())["weights"] for job in sorted(runs.glob("*/job.json"))]
    assert weighted == [None] * 6 + ["../../weights.npy"] * 4
    assert project.status().pairs_done == 5
    assert project.verify().differences == []
