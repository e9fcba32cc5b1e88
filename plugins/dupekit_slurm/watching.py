"""Watches the job folders of an array until each has a result or can get none any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic, sleep
from typing import TYPE_CHECKING

from dupekit.api import Job, Outcome, Progress
from dupekit_slurm.arrays import ENDED, Task, cancel, states

if TYPE_CHECKING:
    from dupekit_slurm import SlurmOptions

_SILENCE_MIN = 10
"""How much longer than a task's time limit neither SLURM nor a job folder may say anything new."""

_GONE = "no longer known to SLURM"


def watch(waiting: dict[Task, list[Job]], options: SlurmOptions, progress: Progress) -> Iterator[Outcome]:
    """Yields an outcome per job of these tasks, as they finish; takes out of `waiting` what has none left."""
    total = len(waiting)
    ended: dict[Task, tuple[float, str]] = {}
    started = heard = monotonic()
    ask_at = started
    while waiting:
        now = monotonic()
        if now >= ask_at:
            found = states([task.id for task in waiting])
            if found is not None:
                heard = now
                _note_ended(waiting, found, ended, now)
                _tell(progress, found, total, len(waiting))
            ask_at = now + _pause(now - started, least=1, most=15)
        for task, jobs in list(waiting.items()):
            # Folders after states: what a task wrote before it ended is then seen, file systems permitting.
            for job in list(jobs):
                outcome = result_of(job)
                if outcome is not None:
                    heard = now
                    jobs.remove(job)
                    yield outcome
            why = _given_up(task, ended.get(task), now, heard, options)
            if why:
                cancel([task.id] if task not in ended else [])
                yield from (Outcome(job, why) for job in jobs)
            if why or not jobs:
                del waiting[task]
        if waiting:
            sleep(_pause(now - started, least=0.2, most=5))


def result_of(job: Job) -> Outcome | None:
    """The outcome that the job's folder tells; None where it has no result yet."""
    try:
        return job.outcome()
    except OSError:
        return None  # what is wrong with the folder shows when the task has ended


def _note_ended(
    waiting: Mapping[Task, object], found: Mapping[str, str], ended: dict[Task, tuple[float, str]], now: float
) -> None:
    for task in waiting:
        state = found.get(task.id, _GONE)
        if state in ENDED or state == _GONE:
            ended.setdefault(task, (now, state))
        else:
            ended.pop(task, None)  # requeued


def _given_up(
    task: Task, ended: tuple[float, str] | None, now: float, heard: float, options: SlurmOptions
) -> str:
    """Why no more results will come of a task; empty while they may."""
    if ended is not None and now - ended[0] >= options.lag_s:
        return f"The SLURM task {task.id} ended ({ended[1]}) before this run was done. {_log_of(task)}"
    silence_min = options.timeout_min + _SILENCE_MIN
    if now - heard > silence_min * 60:
        return f"Neither SLURM nor the task {task.id} has said anything for {silence_min} minutes. {_log_of(task)}"
    return ""


def _log_of(task: Task) -> str:
    try:
        lines = task.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return f"It wrote no log, {task.log}: is that on a file system that the nodes share?"
    return f"Its last words: {lines[-1]} See {task.log}" if lines else f"See {task.log}"


def _tell(progress: Progress, found: Mapping[str, str], total: int, waiting: int) -> None:
    count = list(found.values()).count
    progress("SLURM tasks", total - waiting, total, pending=count("PENDING"), running=count("RUNNING"))


def _pause(elapsed_s: float, *, least: float, most: float) -> float:
    """Short at first, for what fails at once; long later, to be kind to the controller and file server."""
    return min(most, max(least, elapsed_s / 20))
