"""The executor "local" and its worker, in real processes: whatever a plugin does, they end, and say what happened."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.api import TRAINERS, VALIDATORS, Job, Outcome, Progress, silent, worker_command
from dupekit.jobs import local
from dupekit.jobs.lifeline import GRACE_S
from dupekit.jobs.local import LocalExecutor, LocalOptions
from dupekit.testing import Recorder, make_dataset, make_jobs, register
from tests.support import TalkativeTrainer

POINTS = {
    TRAINERS: {"bad": "tests.jobs.misbehaving:Misbehaving"},
    VALIDATORS: {"fake": "dupekit.testing:CentroidValidator"},
}

Jobs = Callable[..., list[Job]]


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Makes two jobs, of which the first does what is asked for; tmp_path / "notes" is told of it."""
    site = register(tmp_path / "site", POINTS)
    root = Path(__file__).parents[2]
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(site), str(root), os.environ.get("PYTHONPATH", "")])
    )
    data = make_dataset(tmp_path / "data", per_class=4)

    def make(how: str) -> list[Job]:
        options = {"how": how, "notes": str(tmp_path / "notes")}
        return make_jobs(tmp_path / "round", data, trainer="bad", trainer_options=options)

    return make


@pytest.fixture
def jobs(tmp_path: Path, fast: dict[str, object]) -> list[Job]:
    return make_jobs(tmp_path / "round", make_dataset(tmp_path / "data", per_class=4), pairs=2)


def run(jobs: list[Job], progress: Progress = silent) -> list[Outcome]:
    with contextlib.closing(LocalExecutor()) as executor:
        return list(executor.run(jobs, LocalOptions(), progress))


def wait_for(notes: Path) -> list[int]:
    """The process ids in a file, when it is there."""
    while not notes.is_file() or not notes.read_text():
        time.sleep(0.02)
    return [int(pid) for pid in notes.read_text().split()]


def is_alive(pid: int) -> bool:
    """Not so a zombie that nobody has waited for yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(*pids: int) -> bool:
    """Within a moment: a process that was killed takes that long to disappear."""
    for _ in range(100):
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.05)
    return False


def test_links_are_followed(jobs: list[Job], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "round")
    linked = [Job(job.name, tmp_path / "link" / "runs" / job.name) for job in jobs]
    assert run(linked) == [Outcome(job) for job in linked]


def test_of_many_messages_few_are_passed_on(tmp_path: Path, fast: dict[str, object]) -> None:
    """Of each stage the first and the last, whatever other stage goes on beside it."""
    jobs = make_jobs(tmp_path, make_dataset(tmp_path / "data", per_class=8), trainer="talkative")
    progress = Recorder()
    assert run(jobs, progress) == [Outcome(job) for job in jobs]
    steps = [call.done for call in progress.calls if call.stage == "stepping"]
    assert steps.count(1) == steps.count(TalkativeTrainer.STEPS) == 2
    assert len(steps) < TalkativeTrainer.STEPS / 2  # so many would take a quarter of an hour
    stages = [call.stage for call in progress.calls]
    assert stages.count("looking back") < TalkativeTrainer.STEPS / 2
    assert {"stepping", "looking back", "decoding", "training", "predicting"} < set(stages)


def test_nothing_goes_on_without_a_name(jobs: list[Job]) -> None:
    """From the start of the worker to its end; every stage ends, so that no bar stands still for ever."""
    progress = Recorder()
    assert run(jobs, progress) == [Outcome(job) for job in jobs]
    last = {call.stage: call for call in progress.calls}
    assert next(iter(last)) == "starting the worker"
    assert progress.calls[-1].stage == "ending the worker"
    assert last.keys() >= {"loading the trainer", "reading the round", "writing predictions"}
    assert all(call.done == call.total for call in last.values())


def test_closing_ends_the_worker(jobs: list[Job]) -> None:
    outcomes = LocalExecutor().run(jobs, LocalOptions(), silent)
    next(outcomes)
    outcomes.close()
    assert next(outcomes, None) is None


@pytest.mark.parametrize("how", ["leaves_a_fork", "leaves_a_command"])
def test_a_child_that_was_left_behind_is_ended(bad: Jobs, tmp_path: Path, how: str) -> None:
    jobs = bad(how)
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert gone(*wait_for(tmp_path / "notes"))


def test_a_child_that_left_the_session_holds_nobody_up(bad: Jobs, tmp_path: Path) -> None:
    jobs = bad("leaves_a_daemon")
    try:
        assert run(jobs) == [Outcome(job) for job in jobs]
    finally:
        for pid in wait_for(tmp_path / "notes"):
            os.kill(pid, signal.SIGKILL)


def test_a_thread_that_was_left_behind_holds_nobody_up(
    bad: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LINGER_S", 0.1)
    jobs = bad("leaves_a_thread")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert gone(*wait_for(tmp_path / "notes"))


def test_an_exit_in_the_middle_is_a_failed_run(bad: Jobs) -> None:
    jobs = bad("exits")
    failed, done = run(jobs)
    assert failed.job == jobs[0]
    assert "ended with exit code 0 (does a plugin call os._exit?) during this run" in (failed.error or "")
    assert done == Outcome(jobs[1])


def test_there_is_nothing_to_read(bad: Jobs, tmp_path: Path) -> None:
    jobs = bad("reads")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert (tmp_path / "notes").read_text() == "('', b'')"


def test_what_a_plugin_prints_is_no_message(bad: Jobs, tmp_path: Path) -> None:
    jobs = bad("prints")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert "half a line" in (tmp_path / "round" / "runs" / "worker.log").read_text()


def test_a_child_that_is_told_to_end_takes_nobody_along(bad: Jobs, tmp_path: Path) -> None:
    jobs = bad("terminates_a_fork")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert (tmp_path / "notes").read_text() == f"{-signal.SIGTERM} False"


class TestNobodyWaits:
    """The three ways in which a worker learns that, each with a plugin that heeds it and one that does not."""

    def test_closed(self, bad: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        jobs = bad("heeds")
        self._close(jobs, tmp_path / "notes")
        assert (tmp_path / "notes").read_text() == "cancelled"
        assert [job.outcome() for job in jobs] == [None, None]

    def test_closed_and_unheard(self, bad: Jobs, tmp_path: Path) -> None:
        jobs = bad("hears_nothing")
        pids = self._close(jobs, tmp_path / "notes")
        assert gone(*pids)
        assert [job.outcome() for job in jobs] == [None, None]

    def _close(self, jobs: list[Job], notes: Path) -> list[int]:
        """Closes the executor when its worker is in the middle of the first run."""
        progress = Recorder()
        outcomes = LocalExecutor().run(jobs, LocalOptions(), progress)
        pids: list[int] = []

        def interrupt() -> None:
            pids.extend(wait_for(notes))
            os.kill(os.getpid(), signal.SIGINT)

        pressing = threading.Thread(target=interrupt)
        pressing.start()
        with contextlib.closing(outcomes), pytest.raises(KeyboardInterrupt):
            next(outcomes)
        pressing.join()
        return pids

    @pytest.mark.parametrize("how", ["heeds", "hears_nothing"])
    def test_sigterm(self, bad: Jobs, tmp_path: Path, how: str) -> None:
        jobs = bad(how)
        with subprocess.Popen(worker_command(jobs)) as worker:
            wait_for(tmp_path / "notes")
            began = time.monotonic()
            worker.terminate()
            assert worker.wait(60) in (1, -signal.SIGKILL)
        if how == "heeds":
            assert (tmp_path / "notes").read_text() == "cancelled"
        else:
            assert time.monotonic() - began >= GRACE_S
        assert [job.outcome() for job in jobs] == [None, None]

    def test_the_parent_was_killed(self, bad: Jobs, tmp_path: Path) -> None:
        jobs = bad("hears_nothing")
        code = (
            "from pathlib import Path; from dupekit.api import Job, silent\n"
            "from dupekit.jobs.local import LocalExecutor, LocalOptions\n"
            f"jobs = [Job(n, Path(n)) for n in {[str(job.folder) for job in jobs]}]\n"
            "list(LocalExecutor().run(jobs, LocalOptions(), silent))"
        )
        with subprocess.Popen([sys.executable, "-c", code]) as parent:
            pids = wait_for(tmp_path / "notes")
            parent.kill()
        assert gone(*pids)


class TestWaitingForMore:
    """A worker whose jobs are done waits for others."""

    def test_it_does_them_too(self, jobs: list[Job]) -> None:
        progress = Recorder()
        with contextlib.closing(LocalExecutor()) as executor:
            for part in (jobs[:1], jobs[1:3], [], jobs[3:]):
                assert list(executor.run(part, LocalOptions(), progress)) == [Outcome(job) for job in part]
        stages = [call.stage for call in progress.calls]
        assert stages.count("starting the worker") == 2  # its begin and its end
        assert stages[-1] == "ending the worker"

    def test_one_that_died_meanwhile_has_a_successor(self, bad: Jobs, tmp_path: Path) -> None:
        jobs = bad("leaves_a_thread")  # and its process id
        with contextlib.closing(LocalExecutor()) as executor:
            for _ in range(2):
                assert list(executor.run(jobs, LocalOptions(), silent)) == [Outcome(job) for job in jobs]
                (pid,) = wait_for(tmp_path / "notes")
                assert is_alive(pid)
                os.kill(pid, signal.SIGKILL)
                assert gone(pid)
                (tmp_path / "notes").unlink()

    def test_it_ends_with_its_parent(self, jobs: list[Job], tmp_path: Path) -> None:
        code = (
            "import time; from pathlib import Path; from dupekit.api import Job, silent\n"
            "from dupekit.jobs.local import LocalExecutor, LocalOptions\n"
            f"jobs = [Job(n, Path(n)) for n in {[str(job.folder) for job in jobs]}]\n"
            "executor = LocalExecutor()\n"
            "list(executor.run(jobs, LocalOptions(), silent))\n"
            "print(executor._worker._process.pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert is_alive(pid)
            parent.kill()
        assert gone(pid)

    def test_what_is_said_at_its_end_is_heard(self, bad: Jobs, caplog: pytest.LogCaptureFixture) -> None:
        assert run(jobs := bad("cannot_be_closed")) == [Outcome(job) for job in jobs]
        assert "The trainer 'bad' (Misbehaving) could not be closed: ZeroDivisionError" in caplog.text
