"""Watches the job folders of tasks until each has a result or can get none any more."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep

from dupekit.api import Job, JobError, Outcome, Progress
from dupekit_slurm.commands import ENDED, states
from dupekit_slurm.options import SlurmOptions
from dupekit_slurm.records import Task, name_of, outcome_of

_SILENCE_MIN = 10
"""How much longer than a task's time limit neither SLURM nor a job folder may say anything new."""

_GONE = "no longer known to SLURM"


@dataclass(frozen=True, slots=True)
class Ended:
    """That a task does nothing any more."""

    at_s: float
    """When it was first heard of, by the monotonic clock."""
    state: str


@dataclass(slots=True)
class Watched:
    """A task, and what has not been heard of it yet."""

    task: Task
    jobs: list[Job] = field(init=False)
    """Those without an outcome."""
    ended: Ended | None = None

    def __post_init__(self) -> None:
        self.jobs = list(self.task.jobs)

    def note(self, state: str, now: float) -> None:
        if state not in ENDED and state != _GONE:
            self.ended = None  # it may have been requeued
        elif self.ended is None:
            self.ended = Ended(now, state)

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Those that are there by now, each once."""
        for job in list(self.jobs):
            outcome = outcome_of(job)
            if outcome is not None:
                self.jobs.remove(job)
                yield outcome


def watch(
    watched: Sequence[Watched], options: SlurmOptions, progress: Progress
) -> Generator[Outcome, None, None]:
    """Yields an outcome per job of these tasks, as they finish. A task is left with jobs where it was given up."""
    waiting = list(watched)
    started = heard = ask_at = monotonic()
    silence = "no answer"
    while waiting and not progress.cancelled:
        now = monotonic()
        if now >= ask_at:
            try:
                found = states(name_of(one.task.array) for one in waiting)
            except JobError as error:
                silence = str(error)
            else:
                heard = now
                for one in waiting:
                    one.note(found.get(one.task.id, _GONE), now)
                _tell(progress, [found.get(one.task.id) for one in waiting], len(watched))
            ask_at = now + _pause(now - started, least=1, most=15)
        for one in list(waiting):
            # Folders after states: what a task wrote before it ended is then seen, file systems permitting.
            for outcome in one.outcomes():
                heard = now
                yield outcome
            why = _given_up(one, now, heard, silence, options)
            if why:
                yield from (Outcome(job, why) for job in one.jobs)
            if why or not one.jobs:
                waiting.remove(one)
        if waiting:
            sleep(_pause(now - started, least=0.2, most=5))


def _given_up(one: Watched, now: float, heard: float, silence: str, options: SlurmOptions) -> str | None:
    """Why no more results will come of a task; None while they may."""
    if one.ended is not None and now - one.ended.at_s >= options.lag_s:
        return f"The SLURM task {one.task.id} ended ({one.ended.state}) before this run was done. {one.task.last_words()}"
    silence_min = options.timeout_min + _SILENCE_MIN
    if now - heard > silence_min * 60:
        return (
            f"Neither SLURM nor the task {one.task.id} has said anything for {silence_min} minutes"
            f" ({silence}). {one.task.last_words()}"
        )
    return None


def _tell(progress: Progress, found: Sequence[str | None], total: int) -> None:
    done = total - len(found)
    progress("SLURM tasks", done, total, pending=found.count("PENDING"), running=found.count("RUNNING"))


def _pause(elapsed_s: float, *, least: float, most: float) -> float:
    """Short at first, for what fails at once; long later, to be kind to the controller and file server."""
    return min(most, max(least, elapsed_s / 20))
