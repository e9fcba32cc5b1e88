"""Training by an executor that goes on without dupekit: submitted, followed, taken up, left, cancelled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dupekit import Choices
from dupekit.api import JobState, PluginError
from dupekit.errors import DupekitError, UsageError
from dupekit.files.write import atomic_write
from dupekit.jobs.under_way import UnderWay
from dupekit.project import Project
from dupekit.workflow.train import Trained
from tests.support import QueueExecutor, dupekit, on_terminal, parsed, queue_of, until, work

pytestmark = pytest.mark.skipif(os.name == "nt", reason="terminals and signals")


def runs_of(project: Project) -> Path:
    return project.path / "rounds/01/runs"


def queued(project: Project) -> list[str]:
    return queue_of(runs_of(project)).read_text().split()


def train(project: Project, fast: dict[str, str], *, detach: bool = True, **choices: Any) -> Trained:
    return project.train(Choices(**{"pairs": 2, "executor": "queue", **fast, **choices}), detach=detach)


def states(project: Project) -> dict[str, str] | None:
    found = project.status().submitted
    return dict(found.runs) if found else None


def test_submits_and_takes_up(project: Project, fast: dict[str, str]) -> None:
    every = ["p01-a", "p01-b", "p02-a", "p02-b"]
    done = train(project, fast)
    assert (done.submitted, done.failed, done.left, done.waiting) == (every, [], [], [])
    assert queued(project) == every
    assert states(project) == dict.fromkeys(every, JobState.WAITING)
    assert (
        str(project.advice())
        == "4 of 4 runs submitted to queue have not ended. Next: dupekit train --executor queue"
    )
    work(runs_of(project), "p01-a", "p01-b")
    assert states(project) == {**dict.fromkeys(every, JobState.WAITING), "p01-a": "done", "p01-b": "done"}

    assert train(project, fast).submitted == ["p02-a", "p02-b"]
    assert project.status().pairs_done == 1
    assert queued(project) == ["p02-a", "p02-b"]
    work(runs_of(project))
    assert (
        str(project.advice()) == "2 runs submitted to queue, all ended. Next: dupekit train --executor queue"
    )
    done = train(project, fast, detach=False)
    assert (done.submitted, done.failed, done.left) == ([], [], [])
    assert (project.status().pairs_done, states(project)) == (2, None)
    assert project.verify().differences == []
    assert train(project, fast).submitted == []  # there is nothing more
    assert sorted(file.name for file in (runs_of(project) / "p01-a").iterdir()) == [
        "job.json", "predictions.npz", "result.json",
    ]  # fmt: skip


def test_a_failure_is_told_once_and_then_done_again(project: Project, fast: dict[str, str]) -> None:
    broken = fast | {"trainer": "broken"}
    train(project, broken)
    work(runs_of(project))
    assert states(project) == {"p01-a": "done", "p01-b": "done", "p02-a": "failed", "p02-b": "done"}
    done = train(project, broken)
    assert [run.name for run in done.failed] == ["p02-a"]
    assert "it broke" in (done.failed[0].error or "")
    assert (queued(project), done.submitted, states(project)) == ([], [], None)
    done = train(project, broken)
    assert (queued(project), done.submitted, done.failed) == (["p02-a"], ["p02-a"], [])


def test_what_was_recorded_by_a_call_that_was_then_killed_is_no_more_submitted(
    project: Project, fast: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(project, fast)
    work(runs_of(project))
    with monkeypatch.context() as patch:
        patch.setattr(UnderWay, "remove", lambda *_: None)  # as if killed before it, each time
        train(project, fast, detach=False)
    assert len(states(project) or {}) == 4
    done = train(project, fast)
    assert (done.submitted, done.left, states(project)) == ([], [], None)


def test_what_a_worker_writes_meanwhile_stays(project: Project, fast: dict[str, str]) -> None:
    train(project, fast)
    folder = runs_of(project) / "p01-a"
    with atomic_write(folder / "result.json") as file:
        train(project, fast)
        file.write(b"{}")
    assert (folder / "result.json").read_bytes() == b"{}"


def test_an_executor_is_told_that_a_part_can_be_done_first(
    project: Project, fast: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And may forget it: a job is known by its folder."""
    choices = Choices(pairs=1, executor="queue", **fast | {"trainer": "preparing"})
    assert (project.train(choices, dry_run=True).scripts or "").count("--prepare=True") == 2
    submit = QueueExecutor.submit

    def submit_and_work(*arguments: Any) -> None:
        submit(*arguments)
        work(runs_of(project))

    monkeypatch.setattr(QueueExecutor, "submit", submit_and_work)
    done = project.train(choices)
    assert (done.failed, done.left, done.submitted) == ([], [], [])


def test_of_a_round_that_was_begun_the_next_jobs_are_shown(project: Project, fast: dict[str, str]) -> None:
    """With --until-stable two pairs, counted from those that are done."""
    train(project, fast, executor="here", pairs=6, detach=False)
    choices = Choices(pairs=10, executor="queue", **fast)
    shown = project.train(choices, dry_run=True, until_stable=True).scripts or ""
    assert re.findall(r"p\d\d-.", shown) == ["p07-a", "p07-b", "p08-a", "p08-b"]


def test_says_what_was_begun_and_what_was_cut_off(project: Project, fast: dict[str, str]) -> None:
    train(project, fast, pairs=1)
    first, second = (job for job in sorted(runs_of(project).glob("p*")))
    (first / "state.txt").write_text("at work")
    assert states(project) == {"p01-a": "at work", "p01-b": "waiting"}
    for folder in (first, second):
        (folder / "state.txt").write_text("cut off")
    assert (
        str(project.advice())
        == "2 of 2 runs submitted to queue were cut off. Next: dupekit train --executor queue"
    )


def test_two_executors_do_not_do_the_same_runs(
    project: Project, fast: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(project, fast)
    work(runs_of(project), "p01-a")

    def cancel(*_: object) -> None:
        raise PluginError("No cluster here.")

    with monkeypatch.context() as patch:
        patch.setattr(QueueExecutor, "cancel", cancel)
        with pytest.raises(
            UsageError, match=r"3 runs .* may still be at work by .* 'queue': No cluster here."
        ) as error:
            train(project, fast, executor="here", detach=False)
    assert str(project.path / "rounds/01/submitted.json") in error.value.hint
    assert len(queued(project)) == 3
    done = train(project, fast, executor="here", detach=False)
    assert (queued(project), done.failed, done.left, states(project)) == ([], [], [], None)


def test_a_round_does_not_end_under_what_was_submitted(
    project: Project, fast: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(*_: object) -> None:
        raise PluginError("No cluster here.")

    train(project, fast)
    work(runs_of(project), "p01-a")
    said = r"- 3 of 4 runs submitted to queue have not ended\. Take them up: dupekit train --executor queue\. Or have --drop cancel them"
    with pytest.raises(UsageError, match=said):
        project.next_round()
    with monkeypatch.context() as patch:
        patch.setattr(QueueExecutor, "cancel", cancel)
        with pytest.raises(UsageError, match=r"may still be at work .*: No cluster here"):
            project.next_round(drop=True)
    current = project.status().round
    assert current is not None
    assert current.closed is None
    assert len(queued(project)) == len(states(project) or {}) - 1 == 3
    project.next_round(drop=True)
    assert (queued(project), states(project)) == ([], None)


def test_what_has_ended_is_not_lost_with_its_round(project: Project, fast: dict[str, str]) -> None:
    train(project, fast)
    work(runs_of(project))
    with pytest.raises(UsageError, match="4 runs submitted to queue, all ended"):
        project.next_round()
    train(project, fast)
    project.next_round()


def test_what_is_begun_anew_is_cancelled(project: Project, fast: dict[str, str]) -> None:
    train(project, fast)
    old = queue_of(runs_of(project)).open()
    train(project, fast, seed=7)
    with old:
        assert old.read() == ""
    assert len(queued(project)) == 4


def test_where_submitting_fails_nothing_counts_as_submitted(
    project: Project, fast: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PluginError("The queue is full.")

    with monkeypatch.context() as patch:
        patch.setattr(QueueExecutor, "submit", refuse)
        with pytest.raises(DupekitError, match="The queue is full"):
            train(project, fast)
    assert states(project) is None
    train(project, fast)
    with monkeypatch.context() as patch:
        patch.setattr(QueueExecutor, "submit", refuse)
        with pytest.raises(DupekitError, match="The queue is full"):
            train(project, fast, pairs=3)
    assert len(states(project) or {}) == 4  # those may be at work


def test_the_second_stage_is_submitted_when_the_first_is_taken_up(
    project: Project, fast: dict[str, str]
) -> None:
    done = train(project, fast, pairs=3, stage=2)
    assert (len(done.submitted), done.waiting) == (4, ["p03-a", "p03-b"])
    work(runs_of(project))
    done = train(project, fast, pairs=3, stage=2)
    assert (done.submitted, done.waiting) == (["p03-a", "p03-b"], [])
    work(runs_of(project))
    assert train(project, fast, pairs=3, detach=False).left == []


def test_is_refused(project: Project, fast: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="'local' cannot go on without dupekit") as error:
        train(project, fast, executor="local")
    assert "--executor slurm" in error.value.hint or "queue" in error.value.hint
    with pytest.raises(UsageError, match="--until-stable looks at the first pairs"):
        project.train(Choices(executor="queue", **fast), detach=True, until_stable=True)
    assert project.status().round is None


COMMAND = ("--pairs", "2", "--trainer", "fake", "--validator", "fake", "--executor", "queue")


def test_what_the_commands_say(project: Project, fast: dict[str, str]) -> None:
    command = ("train", "-p", project.path, *COMMAND)
    shown = dupekit(*command, "--dry-run", columns=80).stdout
    assert f"queue {runs_of(project) / 'p02-b'} --prepare=False {'x' * 80}\n" in shown
    assert project.status().round is None
    said = dupekit(*command, "--detach", columns=80).stdout
    assert "0 of 4 runs are done, 4 are submitted." in said
    assert max(map(len, said.splitlines())) <= 80
    said = dupekit("status", "-p", project.path, "--all", columns=80).stdout
    assert "4 runs to queue" in said
    assert "4 waiting" in said
    assert "p02-b  waiting" in said
    assert parsed("status", "-p", project.path, "--json")["submitted"]["runs"]["p01-a"] == "waiting"
    work(runs_of(project))
    assert parsed(*command, "--detach", "--json")["submitted"] == []


CTRL_C = b"\x03"


def interrupted(project: Project, keys: bytes) -> bytes:
    """What `train` says that waits for its runs when somebody presses Ctrl-C, and then these."""
    command = [sys.executable, "-m", "dupekit", "train", "-p", str(project.path), *COMMAND]
    seen = bytearray()
    with on_terminal(command) as (process, read):

        def listen() -> None:
            while some := read():
                seen.extend(some)

        threading.Thread(target=listen, daemon=True).start()
        until(lambda: (project.path / "rounds/01/submitted.json").exists() and queued(project))
        process.send_signal(signal.SIGINT)
        until(lambda: b"go on without dupekit?" in seen)
        if keys == CTRL_C:
            process.send_signal(signal.SIGINT)
        else:
            read.write(keys)
        assert process.wait(30) == 130
        until(lambda: b"The same command goes on" in b" ".join(seen.split()))
    return b" ".join(seen.split())


@pytest.mark.parametrize("keys", [b"\n", CTRL_C])
def test_at_ctrl_c_the_runs_may_go_on(project: Project, fast: dict[str, str], keys: bytes) -> None:
    assert b"The others go on" in interrupted(project, keys)
    assert len(queued(project)) == len(states(project) or {}) == 4


def test_at_ctrl_c_they_may_be_cancelled(project: Project, fast: dict[str, str]) -> None:
    assert b"The others go on" not in interrupted(project, b"n\n")
    assert (queued(project), states(project)) == ([], None)


def test_without_a_terminal_they_are_cancelled(project: Project, fast: dict[str, str]) -> None:
    command = [sys.executable, "-m", "dupekit", "train", "-p", str(project.path), *COMMAND]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until(lambda: (project.path / "rounds/01/submitted.json").exists() and queued(project))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"?" not in said
    assert (queued(project), states(project)) == ([], None)


def test_a_project_may_hold_the_options_of_several_executors(project: Project, fast: dict[str, str]) -> None:
    settings = project.path / "dupekit.toml"
    settings.write_text(
        f"{settings.read_text()}\n[options.executor.slurm]\npartition = 'gpu'\nparallel = 0\n"
    )
    project = Project(project.path)
    assert train(project, fast, executor="here", detach=False, pairs=1).left == []
    with pytest.raises(DupekitError, match="parallel=0"):
        train(project, fast, executor="slurm", detach=False)


def test_options_of_an_executor_that_there_is_not(
    project: Project, fast: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """They stop nobody who does not use it; what was mistyped is told."""
    settings = project.path / "dupekit.toml"
    settings.write_text(f"{settings.read_text()}\n[options.executor.quueue]\npartition = 'gpu'\n")
    project = Project(project.path)
    assert train(project, fast, executor="here", detach=False, pairs=1).left == []
    assert "There are options for an executor 'quueue', and no such executor is installed." in caplog.text
    assert project.status().pairs_done == 1
    with pytest.raises(UsageError, match=r"executor 'quueue', and no such .* Did you mean queue\?") as error:
        train(project, fast)
    assert "[options.executor.queue]" in error.value.hint


def test_an_option_of_a_call_counts_before_the_executors_own_table(
    project: Project, fast: dict[str, str]
) -> None:
    settings = project.path / "dupekit.toml"
    settings.write_text(
        f"{settings.read_text()}\n[options.executor.slurm]\npartition = 'gpu'\ntimeout_min = 60\n"
    )
    project = Project(project.path)
    of_call = {"executor.timeout_min": "600"}
    said = project.train(Choices(pairs=1, executor="slurm", **fast, options=of_call), dry_run=True).scripts
    assert said is not None
    assert "--time=600 " in said
    assert "--partition=gpu " in said
