"""Executor "slurm": does the runs as a SLURM job array, which goes on without dupekit.

The job folders must lie on a file system that the nodes share, and so must the Python that submits. What
has ended is seen in the job folders; `squeue` is asked only which tasks are still alive, so that nothing
here needs accounting.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dupekit.api import Job, JobError, Outcome, Progress
from dupekit_slurm.arrays import Submission, cancel_jobs, cancel_tasks, submit, take_over
from dupekit_slurm.commands import require_slurm
from dupekit_slurm.options import SlurmOptions
from dupekit_slurm.records import Task, detach, forget_unless_others, is_detached, outcome_of
from dupekit_slurm.watching import Watched, watch

__all__ = ["SlurmExecutor", "SlurmOptions"]


class SlurmExecutor:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = SlurmOptions

    def __init__(self) -> None:
        self._submitted: list[Task] = []
        """By the last `submit`."""

    def run(
        self, jobs: Sequence[Job], options: SlurmOptions, progress: Progress, /
    ) -> Generator[Outcome, None, None]:
        """Yields an outcome per job, as they finish. Closing the generator cancels what is left, but for what was submitted
        by `submit`.

        An array that a killed dupekit left behind is taken over where its options are the same, and
        cancelled where not. Scripts and logs go to `.slurm` beside the job folders. Raises PluginError without
        SLURM, JobError where sbatch refuses the array or SLURM gives no answer when something is to be submitted.
        """
        if not jobs:
            return
        tasks = [replace(task, jobs=own) for task in self._submitted if (own := _of(task, jobs))]
        rest = [job for job in jobs if not any(job in task.jobs for task in tasks)]
        watched = [Watched(task) for task in tasks]
        given_up = False
        try:
            queued = _queued(rest, options)
            watched += map(Watched, queued.tasks)
            yield from queued.ended
            yield from watch(watched, options, progress)
            given_up = not progress.cancelled  # what is not done now
        finally:
            left = [one.task for one in watched if one.jobs and one.ended is None]
            with contextlib.suppress(JobError):  # nothing more can be done from here
                cancel_tasks([task for task in left if given_up or not is_detached(task.array)])
            if not left:  # else the records stay: whoever submits next waits until those have ended
                for array in {one.task.array for one in watched}:
                    forget_unless_others(array, jobs)

    def submit(self, jobs: Sequence[Job], options: SlurmOptions, progress: Progress, /) -> None:  # noqa: ARG002
        """Sees to it that each job is queued or at work. Raises as `run`."""
        self._submitted = _queued(jobs, options).tasks
        for array in {task.array for task in self._submitted}:
            detach(array)

    def cancel(self, jobs: Sequence[Job], /) -> None:
        """Cancels every task that has one of these jobs, of whatever array of theirs; returns when they have ended. Raises as `run`."""
        if jobs and (home := _home(jobs)).exists():
            require_slurm()
            cancel_jobs(jobs, home)

    def dry_run(self, jobs: Sequence[Job], options: SlurmOptions, /) -> str:
        """The commands and scripts by which these jobs would be submitted, if none of them is at work."""
        if not jobs:
            return ""
        new = Submission.of(jobs, _home(jobs), options, key="KEY")
        commands = [new.decode_command()] if new.decodes else []
        commands.append(new.command(after="DECODE" if new.decodes else None))
        said = [_lines(command) for command in commands]
        said += [f"# {new.array / name}\n{script}" for name, script in new.scripts.items()]
        return "\n".join(said)


@dataclass(frozen=True, slots=True)
class _Queued:
    """What becomes of jobs."""

    tasks: list[Task]
    """Those that do them: of earlier arrays that are alive, and of a new one."""
    ended: list[Outcome]
    """Of jobs that no task has: they had ended before."""


def _queued(jobs: Sequence[Job], options: SlurmOptions) -> _Queued:
    """Submits what no task has, and has not ended: an earlier task may have come to its end while it was waited for."""
    if not jobs:
        return _Queued([], [])
    require_slurm()
    taken = take_over(jobs, _home(jobs), options)
    known = {job for task in taken for job in task.jobs}
    ended = {job: outcome for job in jobs if job not in known and (outcome := outcome_of(job))}
    new = [job for job in jobs if job not in known and job not in ended]
    return _Queued(taken + submit(new, _home(jobs), options), list(ended.values()))


def _of(task: Task, jobs: Sequence[Job]) -> tuple[Job, ...]:
    return tuple(job for job in task.jobs if job in jobs)


def _home(jobs: Sequence[Job]) -> Path:
    return jobs[0].folder.absolute().parent / ".slurm"


def _lines(command: Sequence[str]) -> str:
    """For a shell, an option a line."""
    return " \\\n  ".join(shlex.quote(word) for word in command) + "\n"
