"""The executor "slurm" against commands that answer as they are told to: no SLURM is needed."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from dupekit.api import Job, Outcome, silent
from dupekit.errors import OptionError, PluginError
from tests.plugins.test_slurm import finish, prepare

pytest.importorskip("submitit")

import dupekit_slurm.watching as watching
from dupekit_slurm import SlurmExecutor, SlurmOptions
from dupekit_slurm.arrays import states, submit


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
