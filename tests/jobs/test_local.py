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
from dupekit.errors import OptionError, UsageError
from dupekit.jobs import places, process
from dupekit.jobs.lifeline import GRACE_S
from dupekit.jobs.local import LocalExecutor, LocalOptions
from dupekit.plugin.options import options_for
from dupekit.system.devices import cores
from dupekit.testing import Recorder, make_dataset, make_jobs, register
from tests.jobs.misbehaving import two
from tests.support import TalkativeTrainer

POINTS = {
    TRAINERS: {"bad": "tests.jobs.misbehaving:Misbehaving"},
    VALIDATORS: {"fake": "dupekit.testing:CentroidValidator"},
}

Jobs = Callable[..., list[Job]]


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Makes two jobs, or more pairs, of which the first does what is asked for; tmp_path / "notes" is told of it."""
    site = register(tmp_path / "site", POINTS)
    root = Path(__file__).parents[2]
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(site), str(root), os.environ.get("PYTHONPATH", "")])
    )
    data = make_dataset(tmp_path / "data", per_class=4)

    def make(how: str, run: str = "p01-a", pairs: int = 1, device: str = "cpu") -> list[Job]:
        options = {"how": how, "notes": str(tmp_path / "notes"), "run": run}
        return make_jobs(
            tmp_path / "round", data, pairs=pairs, trainer="bad", trainer_options=options, device=device
        )

    return make


@pytest.fixture
def jobs(tmp_path: Path, fast: dict[str, object]) -> list[Job]:
    return make_jobs(tmp_path / "round", make_dataset(tmp_path / "data", per_class=4), pairs=2)


def run(jobs: list[Job], progress: Progress = silent, options: LocalOptions | None = None) -> list[Outcome]:
    with contextlib.closing(LocalExecutor()) as executor:
        return list(executor.run(jobs, options or LocalOptions(), progress))


def wait_for(notes: Path) -> list[int]:
    """The process ids in a file, when it is there."""
    while not notes.is_file() or not notes.read_text():
        time.sleep(0.02)
    return [int(pid) for pid in notes.read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a thread of it is: not so a zombie that nobody has waited for yet, but one whose other threads hold its pipes open."""
    with contextlib.suppress(OSError):
        states = [
            file.read_text().rpartition(")")[2].split()[0]
            for file in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
        return any(state != "Z" for state in states)
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


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_ends_the_workers(jobs: list[Job], workers: int) -> None:
    progress = Recorder()
    outcomes = LocalExecutor().run(jobs, LocalOptions(workers=workers), progress)
    next(outcomes)
    outcomes.close()
    assert next(outcomes, None) is None
    stage = "ending the worker" if workers == 1 else "ending the workers"
    last = [call for call in progress.calls if call.stage == stage][-1]
    assert last.done == last.total


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
    monkeypatch.setattr(process, "LINGER_S", 0.1)
    jobs = bad("leaves_a_thread")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert gone(*wait_for(tmp_path / "notes"))


class TestDeath:
    """A worker's costs the run that it was at."""

    def test_the_run_is_done_once_more_after_the_others(
        self, bad: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = bad("exits_once")
        assert run([first, second]) == [Outcome(second), Outcome(first)]
        assert "p01-a is done once more, after the others. The worker ended with exit code 3" in caplog.text

    def test_the_second_time_it_has_failed(self, bad: Jobs, tmp_path: Path) -> None:
        first, second = bad("exits_talking")
        done, failed = run([first, second])
        assert (done, failed.job) == (Outcome(second), first)
        log = tmp_path / "round" / "runs" / "worker-1.log"
        assert failed.error == (
            "The worker ended with exit code 3 (does a plugin call os._exit?) during this run. Its last words:"
            f" line 3 | line 4 | line 5 | line 6 | line 7. See {log}"
        )
        assert len(wait_for(tmp_path / "notes")) == 2

    def test_where_all_die_each_has_but_one_try(self, bad: Jobs, tmp_path: Path) -> None:
        jobs = bad("exits_talking", run="all", pairs=3)
        outcomes = run(jobs)
        assert [outcome.job for outcome in outcomes] == jobs
        assert all("exit code 3" in (outcome.error or "") for outcome in outcomes)
        assert len(wait_for(tmp_path / "notes")) == len(jobs) + 1


def test_there_is_nothing_to_read(bad: Jobs, tmp_path: Path) -> None:
    jobs = bad("reads")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert (tmp_path / "notes").read_text() == "('', b'')"


def test_what_a_plugin_prints_is_no_message(bad: Jobs, tmp_path: Path) -> None:
    jobs = bad("prints")
    assert run(jobs) == [Outcome(job) for job in jobs]
    assert "half a line" in (tmp_path / "round" / "runs" / "worker-1.log").read_text()


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
            "print(executor._crew[0].worker._process.pid, flush=True); time.sleep(60)"
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


class TestSeveralWorkers:
    """Two or more at a time: on a CPU, or one a GPU. The GPUs are such in name only."""

    def test_they_share_the_cores_and_the_runs(
        self, bad: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        jobs = bad("waits_for_another", run="all", pairs=3)
        progress = Recorder()
        outcomes = run(jobs, progress, LocalOptions(workers=2))
        assert sorted(outcomes, key=lambda outcome: outcome.job.name) == [Outcome(job) for job in jobs]
        assert self._used(tmp_path / "notes", 1) == [str(max(1, cores() // 2))] * 2
        assert {file.name for file in (tmp_path / "round/runs").glob("*.log")} == {
            "worker-1.log",
            "worker-2.log",
        }
        last = {call.stage: call for call in progress.calls}
        assert all(call.done == call.total for call in last.values())
        assert {"starting the workers", "ending the workers"} < set(last)
        assert progress.calls[-1].stage == "ending the workers"

    @pytest.mark.parametrize(
        ("device", "options", "visible", "meant"),
        [
            ("auto", LocalOptions(), None, ["0", "1"]),
            ("cuda", LocalOptions(devices="1,cuda:0"), None, ["0", "1"]),
            ("auto", LocalOptions(), "5, 7", ["5", "7"]),
            ("cuda", LocalOptions(devices="0,1"), "MIG-a,MIG-b", ["MIG-a", "MIG-b"]),
        ],
    )
    def test_each_sees_one_gpu(
        self,
        bad: Jobs,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        device: str,
        options: LocalOptions,
        visible: str | None,
        meant: list[str],
    ) -> None:
        monkeypatch.setattr(places, "cuda_devices", lambda: 2)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert not any(
            outcome.error for outcome in run(bad("waits_for_another", "all", 2, device), options=options)
        )
        assert self._used(tmp_path / "notes", 0) == meant

    @pytest.mark.parametrize(
        ("device", "options", "there"),
        [
            ("auto", LocalOptions(), 1),
            ("cuda:1", LocalOptions(), 2),
            ("cpu", LocalOptions(), 2),
        ],
    )
    def test_one_is_enough(
        self,
        bad: Jobs,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        device: str,
        options: LocalOptions,
        there: int,
    ) -> None:
        monkeypatch.setattr(places, "cuda_devices", lambda: there)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        run(bad("notes", "all", 2, device), options=options)
        assert self._used(tmp_path / "notes", 0) == [""]

    @pytest.mark.parametrize(
        ("device", "options", "message"),
        [
            ("auto", LocalOptions(devices="0,2"), "There is no GPU 2 here: executor.devices may name 0 to 1"),
            ("cpu", LocalOptions(devices="0"), "executor.devices names GPUs, and the device is 'cpu'"),
            ("cuda:1", LocalOptions(devices="0"), "executor.devices names GPUs, and the device is 'cuda:1'"),
            ("cuda:2", LocalOptions(), "This machine has 2 GPUs, counted from 0, and the device is 'cuda:2'"),
            ("auto", LocalOptions(workers=2), "executor.workers is for a CPU, and GPUs get a worker each"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, bad: Jobs, monkeypatch: pytest.MonkeyPatch, device: str, options: LocalOptions, message: str
    ) -> None:
        monkeypatch.setattr(places, "cuda_devices", lambda: 2)
        with pytest.raises(UsageError, match=message):
            run(bad("notes", device=device), options=options)

    @pytest.mark.parametrize("devices", ["", "0,,1", "0,00", "first", "cuda:x", "-1"])
    def test_devices_are_numbers(self, devices: str) -> None:
        with pytest.raises(OptionError, match="is no list of different numbers, as in 0,1"):
            options_for(LocalExecutor, {"devices": devices})

    def test_the_others_go_on_when_one_dies(self, bad: Jobs) -> None:
        jobs = bad("dies_beside_another", run="all", pairs=4)
        outcomes = run(jobs, options=LocalOptions(workers=2))
        assert sorted(outcomes, key=lambda outcome: outcome.job.name) == [Outcome(job) for job in jobs]

    def test_closing_ends_all(self, bad: Jobs, tmp_path: Path) -> None:
        jobs = bad("hears_nothing_beside_another", run="all", pairs=2)
        outcomes = LocalExecutor().run(jobs, LocalOptions(workers=2), silent)
        pids: list[int] = []

        def interrupt() -> None:
            (tmp_path / "notes").mkdir(exist_ok=True)
            pids.extend(two(tmp_path / "notes"))
            os.kill(os.getpid(), signal.SIGINT)

        pressing = threading.Thread(target=interrupt)
        pressing.start()
        with contextlib.closing(outcomes), pytest.raises(KeyboardInterrupt):
            next(outcomes)
        pressing.join()
        assert gone(*pids)
        assert [job.outcome() for job in jobs] == [None] * 4

    def _used(self, notes: Path, which: int) -> list[str]:
        return sorted(file.read_text().split("\n")[which] for file in notes.iterdir())
