"""Executor "slurm": does the runs as a SLURM job array, which goes on without dupekit.

The job folders must lie on a file system that the nodes share, and so must the Python that submits. What
has ended is seen in the job folders; `squeue` is asked only which tasks are still alive, so that nothing
here needs accounting.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dupekit.api import Job, JobError, Outcome, Progress
from dupekit_slurm.arrays import Submission, Task, cancel_jobs, cancel_tasks, forget, submit, take_over
from dupekit_slurm.commands import require_slurm
from dupekit_slurm.options import SlurmOptions
from dupekit_slurm.watching import Watched, watch

__all__ = ["SlurmExecutor", "SlurmOptions"]


class SlurmExecutor:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = SlurmOptions

    def __init__(self) -> None:
        self._submitted: list[Task] = []
        """By `submit`: they go on when nobody waits any more."""

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
        kept = {task.id for task in tasks}
        rest = [job for job in jobs if not any(job in task.jobs for task in tasks)]
        watched = [Watched(task) for task in tasks]
        try:
            watched += map(Watched, _queued(rest, options))
            yield from watch(watched, options, progress)
            kept = set()  # what is not done now was given up
        finally:
            left = [one.task for one in watched if one.jobs and one.ended is None]
            with contextlib.suppress(JobError):  # nothing more can be done from here
                cancel_tasks([task for task in left if task.id not in kept])
            if not left:  # else the records stay: whoever submits next waits until those have ended
                for one in watched:
                    forget(one.task.array)

    def submit(self, jobs: Sequence[Job], options: SlurmOptions, progress: Progress, /) -> None:  # noqa: ARG002
        """Sees to it that each job is queued or at work. Raises as `run`."""
        self._submitted = _queued(jobs, options)

    def cancel(self, jobs: Sequence[Job], /) -> None:
        """Cancels every task that has one of these jobs, of whatever array of theirs. Raises as `run`."""
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


def _queued(jobs: Sequence[Job], options: SlurmOptions) -> list[Task]:
    """The tasks that do these jobs: those of earlier arrays that are alive, and of a new one."""
    if not jobs:
        return []
    require_slurm()
    taken = take_over(jobs, _home(jobs), options)
    known = {job for task in taken for job in task.jobs}
    return taken + submit([job for job in jobs if job not in known], _home(jobs), options)


def _of(task: Task, jobs: Sequence[Job]) -> tuple[Job, ...]:
    return tuple(job for job in task.jobs if job in jobs)


def _home(jobs: Sequence[Job]) -> Path:
    return jobs[0].folder.absolute().parent / ".slurm"


def _lines(command: Sequence[str]) -> str:
    """For a shell, an option a line."""
    return " \\\n  ".join(shlex.quote(word) for word in command) + "\n"
