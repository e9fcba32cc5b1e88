"""The executor "slurm" against commands that answer as they are told to: no SLURM is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dupekit_slurm.watching as watching
from dupekit.api import (
    EXECUTORS,
    Executor,
    Job,
    JobError,
    JobState,
    OptionError,
    Outcome,
    PluginError,
    silent,
)
from dupekit.plugin.contract import PREDICTIONS, RESULT
from dupekit.plugin.options import describe, options_for
from dupekit.plugin.registry import load
from dupekit_slurm import SlurmExecutor, SlurmOptions
from tests.plugins.conftest import Finish, Prepare

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shell scripts")

QUICK = SlurmOptions(gpus=0, jobs_per_task=1, lag_s=0)
SILENCE = "slurm_load_jobs error: Unable to contact slurm controller"


class Commands:
    """sbatch, squeue and scancel that answer as told and note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "then").touch()
        self.answer("sbatch", "7\n")
        self.answer("squeue")
        self.answer("scancel")

    def answer(self, command: str, text: str = "", *, error: str = "", before: str = "") -> None:
        """Gives this answer from now on, with exit code 1 where it is an error; runs `before` first."""
        (self.folder / f"{command}.out").write_text(text)
        (self.folder / f"{command}.err").write_text(error)
        script, then = self.folder / command, f'. "{self.folder}/then"'
        script.write_text(
            f'#!/bin/sh\nprintf "%s " "$@" >> "{self.folder}/{command}.calls"\n'
            f'echo >> "{self.folder}/{command}.calls"\n{before}\n'
            f"{then if command == 'sbatch' else ''}\n"
            f'cat "{self.folder}/{command}.out"; cat "{self.folder}/{command}.err" >&2; exit {int(bool(error))}\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def finish(self, *jobs: Job, **result: str) -> None:
        """From the next sbatch on, as if a worker had done these jobs then."""
        with (self.folder / "then").open("a") as script:
            for job in jobs:
                content = json.dumps({"name": job.name, "status": "done", **result})
                script.write(f"touch '{job.folder}/predictions.npz'\n")
                script.write(f"echo '{content}' > '{job.folder}/result.json'\n")

    def end(self, text: str = "") -> None:
        """After the next scancel squeue answers this."""
        (self.folder / "ended").write_text(text)
        self.answer("scancel", before=f"cp '{self.folder}/ended' '{self.folder}/squeue.out'")

    def calls(self, command: str) -> list[str]:
        file = self.folder / f"{command}.calls"
        return [line.rstrip() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return made


def arrays(jobs: Sequence[Job]) -> list[Path]:
    """The folders of all arrays of this round."""
    return sorted((jobs[0].folder.parent / ".slurm").iterdir())


def records(jobs: Sequence[Job]) -> list[Path]:
    """Of the arrays that may be at work."""
    return sorted((jobs[0].folder.parent / ".slurm").glob("*/array.json"))


def leave_behind(commands: Commands, jobs: Sequence[Job], options: SlurmOptions = QUICK) -> Path:
    """The folder of an array of these jobs, of which the first is done, whose dupekit was killed."""
    commands.answer("squeue", "".join(f"7_{index}|RUNNING\n" for index in range(len(jobs))))
    commands.finish(jobs[0])
    outcomes = SlurmExecutor().run(jobs, options, silent)
    next(outcomes)
    (array,) = arrays(jobs)
    record = (array / "array.json").read_bytes()
    outcomes.close()
    (array / "array.json").write_bytes(record)
    for calls in commands.folder.glob("*.calls"):
        calls.unlink()
    return array


class TestOutcomes:
    def test_results_become_outcomes(self, prepare: Prepare, finish: Finish, commands: Commands) -> None:
        jobs = prepare()
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        commands.finish(jobs[0])
        commands.finish(jobs[1], status="failed", error="out of memory")
        told: list[Any] = []

        class Told:
            cancelled = False

            def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
                told.append((stage, done, total, figures))

        outcomes = list(SlurmExecutor().run(jobs, QUICK, Told()))
        assert outcomes == [Outcome(jobs[0]), Outcome(jobs[1], "out of memory")]
        assert told == [("SLURM tasks", 0, 2, {"pending": 1, "running": 1})]
        (array,) = arrays(jobs)
        assert commands.calls("squeue") == [
            f"--me --noheader --array --states=all --format=%i|%T --name=dupekit-{array.name}"
        ]
        assert commands.calls("scancel") == []
        assert not (array / "array.json").exists()

    @pytest.mark.parametrize("state", ["TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED"])
    def test_a_task_without_results_is_an_error(
        self, prepare: Prepare, finish: Finish, commands: Commands, state: str
    ) -> None:
        jobs = prepare()
        commands.finish(jobs[0])
        commands.answer("squeue", f"7_0|COMPLETED\n7_1|{state}\n")
        done, failed = SlurmExecutor().run(jobs, QUICK, silent)
        assert (done, failed.job) == (Outcome(jobs[0]), jobs[1])
        assert failed.error is not None
        assert failed.error.startswith(f"The SLURM task 7_1 ended ({state}) before this run was done.")
        assert "task-1.log: is that on a file system that the nodes share?" in failed.error
        assert commands.calls("scancel") == []

    def test_a_task_that_slurm_has_forgotten_has_ended(
        self, tmp_path: Path, prepare: Prepare, commands: Commands
    ) -> None:
        jobs = prepare()[:1]
        runs = jobs[0].folder.parent
        said = "loading\\nslurmstepd: error: Detected 1 oom-kill event\\n"
        commands.answer(
            "squeue", before=f"for a in '{runs}'/.slurm/*; do printf '{said}' > $a/task-0.log; done"
        )
        (failed,) = SlurmExecutor().run(jobs, QUICK, silent)
        assert failed.error is not None
        assert "The SLURM task 7_0 ended (no longer known to SLURM)" in failed.error
        assert "Its last words: slurmstepd: error: Detected 1 oom-kill event See " in failed.error

    def test_a_requeued_task_is_waited_for(
        self, prepare: Prepare, finish: Finish, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare()[:1]
        story = ["7_0|PREEMPTED", "7_0|REQUEUED", "7_0|PENDING", "7_0|RUNNING", "7_0|COMPLETED"]
        told = []

        def sleep(_: float) -> None:
            told.append(story.pop(0))
            commands.answer("squeue", told[-1])
            if not story:
                finish(jobs[0])

        monkeypatch.setattr(watching, "sleep", sleep)
        monkeypatch.setattr(watching, "monotonic", lambda: 20 * len(told))
        commands.answer("squeue", "7_0|RUNNING")
        (outcome,) = SlurmExecutor().run(jobs, SlurmOptions(lag_s=30), silent)
        assert outcome == Outcome(jobs[0])

    def test_a_damaged_result_is_an_outcome(self, prepare: Prepare, commands: Commands) -> None:
        jobs = prepare()[:1]
        (jobs[0].folder / "result.json").write_text("{")
        (outcome,) = SlurmExecutor().run(jobs, QUICK, silent)
        assert outcome.error is not None
        assert "result.json is not valid" in outcome.error

    def test_nothing_is_printed(
        self, prepare: Prepare, finish: Finish, commands: Commands, capfd: pytest.CaptureFixture[str]
    ) -> None:
        jobs = prepare()
        commands.finish(*jobs)
        list(SlurmExecutor().run(jobs, QUICK, silent))
        assert capfd.readouterr() == ("", "")


class TestEnding:
    def test_closing_cancels_the_tasks_that_are_left(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare(pairs=2)
        commands.answer("squeue", "".join(f"7_{i}|RUNNING\n" for i in range(4)))
        commands.finish(jobs[0])
        outcomes = SlurmExecutor().run(jobs, QUICK, silent)
        assert next(outcomes) == Outcome(jobs[0])
        (array,) = arrays(jobs)
        record = json.loads((array / "array.json").read_text())
        assert record["tasks"] == [[str(job.folder)] for job in jobs]
        outcomes.close()
        assert commands.calls("scancel") == ["--quiet 7_1 7_2 7_3"]

    def test_when_nobody_waits_any_more_it_cancels(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        class Cancelled:
            cancelled = True

            def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None: ...

        jobs = prepare(pairs=2)
        assert list(SlurmExecutor().run(jobs[:2], QUICK, Cancelled())) == []
        assert commands.calls("scancel") == ["--quiet 7_0 7_1"]
        SlurmExecutor().submit(jobs[2:], QUICK, silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        assert list(SlurmExecutor().run(jobs[2:], QUICK, Cancelled())) == []
        assert len(commands.calls("scancel")) == 1  # what was submitted goes on

    def test_where_cancelling_fails_the_array_is_remembered(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare()
        commands.finish(jobs[0])
        commands.answer("squeue", "7_0|RUNNING\n7_1|RUNNING\n")
        commands.answer("scancel", error=SILENCE)
        outcomes = SlurmExecutor().run(jobs, QUICK, silent)
        next(outcomes)
        outcomes.close()
        commands.answer("squeue", "7_1|RUNNING\n")
        finish(jobs[1])
        assert list(SlurmExecutor().run(jobs[1:], QUICK, silent)) == [Outcome(jobs[1])]
        assert len(commands.calls("sbatch")) == 1


class TestSilence:
    def test_of_the_controller_is_waited_for_and_then_given_up(
        self, prepare: Prepare, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare()[:1]
        commands.answer("squeue", error=SILENCE)
        slept: list[float] = []
        monkeypatch.setattr(watching, "sleep", slept.append)
        monkeypatch.setattr(watching, "monotonic", lambda: 60 * len(slept))
        (failed,) = SlurmExecutor().run(jobs, SlurmOptions(timeout_min=30), silent)
        assert failed.error is not None
        assert f"Neither SLURM nor the task 7_0 has said anything for 40 minutes ({SILENCE})" in failed.error
        assert len(slept) == 41
        assert commands.calls("scancel") == ["--quiet 7_0"]

    def test_about_an_earlier_array_stops_before_anything_is_submitted(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare()
        array = leave_behind(commands, jobs)
        commands.answer("squeue", error=SILENCE)
        with pytest.raises(
            JobError, match=f"dupekit-{array.name}, may still be at work .*{SILENCE}"
        ) as caught:
            next(SlurmExecutor().run(jobs[1:], QUICK, silent))
        assert "Nothing was submitted. Look with `squeue --me`" in caught.value.hint
        assert commands.calls("sbatch") == []
        assert (array / "array.json").exists()

    def test_that_lost_sbatch_s_answer_leaves_nothing_at_work(
        self, prepare: Prepare, commands: Commands
    ) -> None:
        jobs = prepare()
        commands.answer("sbatch", error="sbatch: error: Batch job submission failed: Socket timed out")
        commands.answer("squeue", "8_0|PENDING\n8_1|PENDING\n")
        with pytest.raises(JobError, match=r"sbatch refused the job array: .*Socket timed out"):
            next(SlurmExecutor().run(jobs, QUICK, silent))
        assert commands.calls("scancel") == ["--quiet 8_0 8_1"]

    def test_then_and_after_it_is_asked_again(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare()
        commands.answer("sbatch", error="sbatch: error: Batch job submission failed: Socket timed out")
        commands.answer("squeue", error=SILENCE)
        with pytest.raises(JobError, match="Socket timed out"):
            next(SlurmExecutor().run(jobs, QUICK, silent))
        commands.answer("sbatch", "9\n")
        with pytest.raises(JobError, match="may still be at work on these runs"):
            next(SlurmExecutor().run(jobs, QUICK, silent))
        commands.answer("squeue", "8_0|RUNNING\n8_1|COMPLETED\n")  # it had been submitted all the same
        commands.finish(*jobs)
        assert len(list(SlurmExecutor().run(jobs, QUICK, silent))) == 2
        assert len(commands.calls("sbatch")) == 2
        assert not any((array / "array.json").exists() for array in arrays(jobs))


class TestTakingOver:
    def test_what_is_alive_and_submits_the_rest(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare(pairs=2)
        leave_behind(commands, jobs)
        commands.finish(*jobs)
        commands.answer("squeue", "7_0|COMPLETED\n7_1|RUNNING\n7_2|TIMEOUT\n7_3|PENDING\n")
        commands.answer("sbatch", "9\n")
        assert len(list(SlurmExecutor().run(jobs, QUICK, silent))) == 4
        assert "--array=0-0%16" in commands.calls("sbatch")[0]
        assert commands.calls("scancel") == []

    @pytest.mark.parametrize("damage", ["other options", "{}", "[1]", '{"options": {}, "tasks": []}', "\x00"])
    def test_what_is_not_as_wanted_is_cancelled_and_its_end_waited_for(
        self, prepare: Prepare, commands: Commands, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        jobs = prepare()
        array = leave_behind(commands, jobs, replace(QUICK, timeout_min=7))
        if damage != "other options":
            (array / "array.json").write_text(damage)
        commands.finish(jobs[1])
        commands.answer("squeue", "7_0|COMPLETED\n7_1|RUNNING\n")
        commands.end("7_0|COMPLETED\n7_1|COMPLETING\n")
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            assert commands.calls("sbatch") == []
            if len(waited) == 3:
                commands.answer("squeue", "7_0|COMPLETED\n7_1|CANCELLED\n")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dupekit_slurm.arrays.sleep", sleep)
            assert list(SlurmExecutor().run(jobs[1:], QUICK, silent)) == [Outcome(jobs[1])]
        assert commands.calls("scancel") == ["--quiet 7_1"]
        assert (len(waited), len(commands.calls("sbatch"))) == (3, 1)
        assert ("other options (timeout_min 7, now" in caplog.text) == (damage == "other options")
        assert not (array / "array.json").exists()

    @pytest.mark.parametrize(
        ("left", "again"), [((PREDICTIONS, RESULT), 0), ((RESULT,), 1), ((PREDICTIONS,), 1)]
    )
    def test_what_ends_while_it_is_waited_for_is_done_but_once(
        self, prepare: Prepare, finish: Finish, commands: Commands, left: tuple[str, ...], again: int
    ) -> None:
        """And where it left but half of what it was to leave, it is not done before that is there."""
        (job,) = jobs = prepare()[:1]
        SlurmExecutor().submit(jobs, QUICK, silent)
        commands.answer("squeue", "7_0|COMPLETING\n")
        (commands.folder / "sbatch.calls").unlink()
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            finish(job)
            for name in {PREDICTIONS, RESULT} - set(left):
                (job.folder / name).unlink()
            commands.answer("squeue", "7_0|CANCELLED\n")

        def work(_: float) -> None:
            assert commands.calls("sbatch")
            finish(job)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dupekit_slurm.arrays.sleep", sleep)
            patch.setattr(watching, "sleep", work)
            assert list(SlurmExecutor().run(jobs, replace(QUICK, lag_s=60), silent)) == [Outcome(job)]
        assert (len(slept), len(commands.calls("sbatch"))) == (1, again)
        assert all((job.folder / name).is_file() for name in (PREDICTIONS, RESULT))

    def test_what_has_other_jobs_goes_on(self, prepare: Prepare, commands: Commands) -> None:
        jobs = prepare(pairs=2)
        SlurmExecutor().submit(jobs[:2], QUICK, silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        SlurmExecutor().submit(jobs[2:], QUICK, silent)
        assert (len(commands.calls("sbatch")), commands.calls("scancel")) == (2, [])
        assert len(records(jobs)) == 2

    def test_of_a_project_that_was_moved_is_done_anew(self, prepare: Prepare, commands: Commands) -> None:
        """Its tasks know it by its old place, be that another way to the same folders."""
        jobs = prepare()
        SlurmExecutor().submit(jobs, QUICK, silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        commands.end()
        old = jobs[0].folder.parents[1]
        moved = old.rename(old.with_name("moved"))
        there = [replace(job, folder=moved / job.folder.relative_to(old)) for job in jobs]
        SlurmExecutor().submit(there, QUICK, silent)
        assert (len(commands.calls("sbatch")), commands.calls("scancel")) == (2, ["--quiet 7_0 7_1"])

    def test_of_a_project_that_was_copied_goes_on_for_the_original(
        self, prepare: Prepare, commands: Commands
    ) -> None:
        jobs = prepare()
        SlurmExecutor().submit(jobs, QUICK, silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        old = jobs[0].folder.parents[1]
        copy = shutil.copytree(old, old.with_name("copy"))
        there = [replace(job, folder=copy / job.folder.relative_to(old)) for job in jobs]
        commands.answer("sbatch", "8\n")
        SlurmExecutor().submit(there, QUICK, silent)
        assert (len(commands.calls("sbatch")), commands.calls("scancel")) == (2, [])
        assert len(records(jobs)) == 1

    def test_what_does_not_end_is_told(
        self, prepare: Prepare, finish: Finish, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare()
        array = leave_behind(commands, jobs)
        commands.answer("squeue", "7_1|COMPLETING\n")
        waited: list[float] = []
        monkeypatch.setattr("dupekit_slurm.arrays.sleep", waited.append)
        monkeypatch.setattr("dupekit_slurm.arrays.monotonic", lambda: 30 * len(waited))
        with pytest.raises(
            JobError, match="may still be at work on these runs: what was cancelled has not ended in 120 s"
        ):
            next(SlurmExecutor().run(jobs[1:], QUICK, silent))
        assert commands.calls("sbatch") == []
        assert (array / "array.json").exists()


class TestDetaching:
    def test_what_was_submitted_goes_on_and_is_found_again(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare()
        jobs[0].note(JobState.CUT_OFF)
        SlurmExecutor().submit(jobs, QUICK, silent)
        assert [job.state() for job in jobs] == [JobState.WAITING] * 2
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        second = SlurmExecutor()
        second.submit(jobs, QUICK, silent)
        finish(jobs[0])
        outcomes = second.run(jobs, QUICK, silent)
        assert next(outcomes) == Outcome(jobs[0])
        outcomes.close()
        assert (len(commands.calls("sbatch")), commands.calls("scancel")) == (1, [])
        (array,) = arrays(jobs)
        assert (array / "array.json").exists()
        finish(jobs[1])
        assert list(second.run(jobs[1:], QUICK, silent)) == [Outcome(jobs[1])]
        assert not (array / "array.json").exists()

    def test_what_is_given_up_is_cancelled_all_the_same(
        self, prepare: Prepare, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare()[:1]
        executor = SlurmExecutor()
        executor.submit(jobs, QUICK, silent)
        commands.answer("squeue", error=SILENCE)
        slept: list[float] = []
        monkeypatch.setattr(watching, "sleep", slept.append)
        monkeypatch.setattr(watching, "monotonic", lambda: 3600 * len(slept))
        (failed,) = executor.run(jobs, QUICK, silent)
        assert failed.error is not None
        assert commands.calls("scancel") == ["--quiet 7_0"]

    def test_cancelling_ends_the_tasks_with_these_jobs(self, prepare: Prepare, commands: Commands) -> None:
        jobs = prepare(pairs=2)
        SlurmExecutor().submit(jobs, replace(QUICK, jobs_per_task=2), silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        commands.end("7_0|RUNNING\n")
        SlurmExecutor().cancel([jobs[3]])
        assert commands.calls("scancel") == ["--quiet 7_1"]
        assert len(records(jobs)) == 1
        commands.end()
        SlurmExecutor().cancel(jobs)
        assert records(jobs) == []

    def test_cancelling_returns_when_they_have_ended(
        self, prepare: Prepare, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = prepare()
        SlurmExecutor().submit(jobs, QUICK, silent)
        story = ["7_0|COMPLETING", "7_0|COMPLETING", "7_0|CANCELLED"]
        monkeypatch.setattr("dupekit_slurm.arrays.sleep", lambda _: commands.answer("squeue", story.pop(0)))
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        SlurmExecutor().cancel(jobs)
        assert (story, commands.calls("scancel")) == ([], ["--quiet 7_0 7_1"])

    @pytest.mark.parametrize("waits", ["the same", "another"])
    def test_no_run_of_more_jobs_ends_what_was_submitted(
        self, prepare: Prepare, finish: Finish, commands: Commands, waits: str
    ) -> None:
        jobs = prepare(pairs=2)
        first = SlurmExecutor()
        first.submit(jobs[:3], QUICK, silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|RUNNING\n7_2|PENDING\n9_0|PENDING\n")
        commands.answer("sbatch", "9\n")
        commands.finish(jobs[0])
        outcomes = (first if waits == "the same" else SlurmExecutor()).run(jobs, QUICK, silent)
        assert next(outcomes) == Outcome(jobs[0])
        assert commands.calls("scancel") == []
        outcomes.close()
        assert commands.calls("scancel") == ["--quiet 9_0"]

    def test_a_run_of_fewer_jobs_leaves_the_others_to_be_found(
        self, prepare: Prepare, finish: Finish, commands: Commands
    ) -> None:
        jobs = prepare()
        executor = SlurmExecutor()
        executor.submit(jobs, QUICK, silent)
        commands.answer("squeue", "7_0|RUNNING\n7_1|PENDING\n")
        finish(jobs[0])
        assert list(executor.run(jobs[:1], QUICK, silent)) == [Outcome(jobs[0])]
        assert len(records(jobs)) == 1
        finish(jobs[1])
        assert list(SlurmExecutor().run(jobs[1:], QUICK, silent)) == [Outcome(jobs[1])]
        assert (len(commands.calls("sbatch")), records(jobs)) == (1, [])

    def test_nothing_submitted_needs_no_slurm_to_be_cancelled(
        self, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        SlurmExecutor().cancel(prepare())

    def test_what_ended_while_nobody_waited_is_told(
        self, prepare: Prepare, commands: Commands, caplog: pytest.LogCaptureFixture
    ) -> None:
        jobs = prepare()
        SlurmExecutor().submit(jobs, QUICK, silent)
        (array,) = arrays(jobs)
        (array / "task-0.log").write_text("loading\nSLURM ends this task\n")
        commands.answer("squeue", "7_0|TIMEOUT\n7_1|RUNNING\n")
        SlurmExecutor().submit(jobs, QUICK, silent)
        assert caplog.messages == [
            "An earlier task ended without p01-a, to be submitted again. Its last words: SLURM ends this task"
            f" See {array / 'task-0.log'}"
        ]
        assert "--array=0-0%16" in commands.calls("sbatch")[1]

    def test_what_ended_well_meanwhile_is_not_told_as_lost(
        self, prepare: Prepare, finish: Finish, commands: Commands, caplog: pytest.LogCaptureFixture
    ) -> None:
        jobs = prepare()
        SlurmExecutor().submit(jobs, QUICK, silent)
        finish(jobs[0])
        commands.answer("squeue", "7_0|COMPLETED\n7_1|RUNNING\n")
        SlurmExecutor().submit(jobs, QUICK, silent)
        assert (caplog.messages, len(commands.calls("sbatch"))) == ([], 1)


ON_GPU = SlurmOptions(
    jobs_per_task=1, lag_s=0, account="plankton", partition="gpu", extra="--constraint=a100"
)


class TestDecoding:
    @pytest.fixture
    def jobs(self, prepare: Prepare) -> list[Job]:
        return [replace(job, prepares=True) for job in prepare()]

    def test_comes_first_without_a_gpu(self, jobs: list[Job], commands: Commands) -> None:
        SlurmExecutor().submit(jobs, replace(ON_GPU, decode_partition="cpu", setup="module load x"), silent)
        decode, array = commands.calls("sbatch")
        (folder,) = arrays(jobs)
        assert decode == (
            "--parsable --nodes=1 --ntasks=1 --time=240 --cpus-per-task=4 --mem=16384M --partition=cpu --account=plankton"
            f" --job-name=dupekit-{folder.name}-decode --output={folder}/decode.log {folder}/decode.sh"
        )
        assert array.startswith("--parsable --dependency=afterany:7 --nodes=1")
        assert (folder / "decode.sh").read_text().splitlines() == [
            "#!/bin/bash",
            "module load x",
            f"{sys.executable} -P -m dupekit.jobs --prepare {jobs[0].folder} && touch {folder.parent / 'decoded'}",
        ]

    @pytest.mark.parametrize(
        ("options", "decodes"),
        [
            (ON_GPU, True),
            (QUICK, False),
            (replace(QUICK, decode="yes"), True),
            (replace(ON_GPU, decode="no"), False),
        ],
    )
    def test_where_it_is_wanted(
        self, jobs: list[Job], commands: Commands, options: SlurmOptions, decodes: bool
    ) -> None:
        SlurmExecutor().submit(jobs, options, silent)
        assert len(commands.calls("sbatch")) == 1 + decodes

    def test_not_where_the_trainer_has_nothing_to_prepare(self, prepare: Prepare, commands: Commands) -> None:
        SlurmExecutor().submit(prepare(), ON_GPU, silent)
        assert len(commands.calls("sbatch")) == 1

    def test_once_a_round(self, jobs: list[Job], commands: Commands) -> None:
        SlurmExecutor().submit(jobs, ON_GPU, silent)
        (jobs[0].folder.parent / ".slurm" / "decoded").touch()
        SlurmExecutor().submit(jobs, ON_GPU, silent)
        assert len(commands.calls("sbatch")) == 3

    def test_is_cancelled_with_its_array(self, jobs: list[Job], commands: Commands) -> None:
        SlurmExecutor().submit(jobs, ON_GPU, silent)
        (folder,) = arrays(jobs)
        commands.answer("squeue", "8_0|PENDING\n8_1|PENDING\n")
        commands.end()
        SlurmExecutor().cancel(jobs)
        assert commands.calls("scancel") == [
            "--quiet 8_0 8_1",
            f"--quiet --name=dupekit-{folder.name}-decode",
        ]

    def test_refused_nothing_is_submitted(self, jobs: list[Job], commands: Commands) -> None:
        commands.answer("sbatch", error="sbatch: error: this partition is for GPUs")
        with pytest.raises(JobError, match=r"refused the job that decodes the images: .*for GPUs") as caught:
            SlurmExecutor().submit(jobs, ON_GPU, silent)
        assert "executor.decode_partition" in caught.value.hint
        assert len(commands.calls("sbatch")) == 1
        assert arrays(jobs) == []


def test_what_would_be_submitted_is_shown_without_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    jobs = [Job(f"p01-{half}", tmp_path / "runs" / f"p01-{half}", prepares=True) for half in "ab"]
    shown = SlurmExecutor().dry_run(jobs, ON_GPU)
    assert shown.count("\nsbatch \\\n") + shown.startswith("sbatch \\\n") == 2
    assert "  --dependency=afterany:DECODE \\\n" in shown
    assert "  --array=0-1%16 \\\n" in shown
    assert f"# {tmp_path}/runs/.slurm/KEY/array.sh\n#!/bin/bash\n" in shown
    assert list(tmp_path.iterdir()) == []


class TestSubmitting:
    def test_what_is_submitted(self, prepare: Prepare, finish: Finish, commands: Commands) -> None:
        jobs = prepare("100%", pairs=4)
        commands.finish(*jobs)
        options = SlurmOptions(
            partition="gpu",
            account="plankton",
            jobs_per_task=3,
            parallel=2,
            mem_gb=1.5,
            setup="module load cuda",
            extra="--constraint='a100|h100' --exclusive --job-name=mine",
        )
        assert [outcome.job for outcome in SlurmExecutor().run(jobs, options, silent)] == jobs
        (array,) = arrays(jobs)
        (call,) = commands.calls("sbatch")
        assert call == (
            "--parsable --nodes=1 --ntasks=1 --time=240 --cpus-per-task=4 --mem=1536M"
            " --partition=gpu --account=plankton --gpus-per-node=1 --constraint=a100|h100 --exclusive --job-name=mine"
            f" --job-name=dupekit-{array.name} --array=0-2%2"
            f" --output={str(array).replace('100%', '100%%')}/task-%a.log"
            f" --open-mode=append --signal=B:USR1@30 {array}/array.sh"
        )
        assert (array / "array.sh").read_text().splitlines() == [
            "#!/bin/bash",
            "module load cuda",
            f'exec {sys.executable} -P -m dupekit_slurm {array} "$SLURM_ARRAY_TASK_ID"',
        ]

    def test_no_pickles(self, prepare: Prepare, finish: Finish, commands: Commands) -> None:
        jobs = prepare(pairs=2)
        array = leave_behind(commands, jobs)
        assert sorted(file.name for file in array.iterdir()) == ["array.json", "array.sh"]
        for file in array.iterdir():
            assert file.read_text(encoding="utf-8").replace("\n", "").isprintable()
        assert json.loads((array / "array.json").read_text())["tasks"] == [[str(job.folder)] for job in jobs]

    def test_a_job_that_dupekit_runs_in_is_not_inherited(
        self, tmp_path: Path, prepare: Prepare, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = {"SLURM_CONF": "/cluster/slurm.conf", "SBATCH_ACCOUNT": "plankton"}
        of_job = {
            "SLURM_JOB_ID": "1",
            "SLURM_MEM_PER_NODE": "5",
            "SBATCH_CPU_BIND": "quiet",
            "SRUN_DEBUG": "3",
        }
        for name, value in (given | of_job).items():
            monkeypatch.setenv(name, value)
        seen = tmp_path / "environment"
        commands.answer("sbatch", "7\n", before=f"env > '{seen}'")
        list(SlurmExecutor().run(prepare(), QUICK, silent))
        found = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
        assert {name: value for name, value in found.items() if name in given | of_job} == given
        assert os.environ["SLURM_JOB_ID"] == "1"

    def test_what_a_user_has_set_outside_of_jobs_is_kept(
        self, tmp_path: Path, prepare: Prepare, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
        seen = tmp_path / "environment"
        commands.answer("sbatch", "7\n", before=f"env > '{seen}'")
        list(SlurmExecutor().run(prepare(), QUICK, silent))
        assert "SLURM_TIME_FORMAT=relative" in seen.read_text().splitlines()

    def test_no_jobs_need_no_slurm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert list(SlurmExecutor().run([], QUICK, silent)) == []

    def test_without_slurm_it_says_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(PluginError, match="needs sbatch, squeue, scancel") as caught:
            next(SlurmExecutor().run([Job("p01-a", tmp_path)], QUICK, silent))
        assert "login node" in caught.value.hint


class TestOptions:
    def test_it_is_an_executor(self) -> None:
        made: Executor[SlurmOptions] = SlurmExecutor()
        assert isinstance(made, Executor)
        assert load(EXECUTORS, "slurm") is SlurmExecutor

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"timeout_min": 0}, "timeout_min=0: it must be a whole number from 1 on"),
            ({"gpus": -1}, "gpus=-1: it must be a whole number from 0 on"),
            ({"mem_gb": 0}, "mem_gb=0: it must be a number above 0"),
            ({"extra": "-C a100"}, "'-C' is not --NAME or --NAME=VALUE"),
            ({"extra": "--constraint a100"}, "'a100' is not --NAME or --NAME=VALUE"),
            ({"extra": "--"}, "'--' is not --NAME or --NAME=VALUE"),
            ({"extra": "--comment='a"}, "No closing quotation"),
        ],
    )
    def test_what_cannot_be_is_refused(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            options_for(SlurmExecutor, given)

    def test_the_page_on_clusters_names_each(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
        told = dict(re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \|", page))
        words = {"partition": "the cluster's", "account": "the cluster's", "qos": "the cluster's", "setup": "nothing",
                 "extra": "nothing", "decode_partition": "`partition`"}  # fmt: skip
        assert told == {
            option.name: words.get(option.name, str(option.default)) for option in describe(SlurmExecutor)
        }
