"""Job arrays: submits them, and remembers them across processes.

An array is a folder `.slurm/KEY` beside the job folders, and is called "dupekit-KEY" in SLURM. It holds
text only: `array.json`, what the tasks do and with which options; `array.sh`, what each runs; and a log a task.
array.json is there before sbatch is called, and as long as the array may be at work: a dupekit that comes after
one that was killed at any moment finds its array by it.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from dupekit.api import Job, JobError, write_text
from dupekit_slurm.commands import ENDED, call, cancel, outside_of_jobs, states
from dupekit_slurm.options import SlurmOptions

_RECORD = "array.json"
_SIGNAL_S = 30
"""How long before its time limit a task is told to end. SLURM looks now and then, and may be a minute early."""
_ENDING_S = 120
"""How long tasks that were cancelled may take to end: SLURM kills after KillWait, 30 seconds by default."""


@dataclass(frozen=True, slots=True)
class Record:
    """What array.json holds."""

    options: dict[str, Any]
    tasks: list[list[str]]
    """The job folders of each task, by its index."""

    @staticmethod
    def of(array: Path) -> Record:
        """Raises FileNotFoundError where nobody waits for this array any more."""
        return Record(**json.loads((array / _RECORD).read_bytes()))


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an array: the jobs that one worker does, in order."""

    id: str
    """SLURM's, such as "4711_0"."""
    array: Path
    """Its array's folder."""
    jobs: tuple[Job, ...]

    @property
    def log(self) -> Path:
        return self.array / f"task-{_index(self.id)}.log"


def name_of(array: Path) -> str:
    """What SLURM calls the array of this folder."""
    return f"dupekit-{array.name}"


def submit(jobs: Sequence[Job], home: Path, options: SlurmOptions) -> list[Task]:
    """Submits the jobs as one array, in shares of equal size, none over `jobs_per_task`.

    Raises JobError with sbatch's own words where it refuses.
    """
    if not jobs:
        return []
    count = -(-len(jobs) // options.jobs_per_task)
    shares = [tuple(jobs[i * len(jobs) // count : (i + 1) * len(jobs) // count]) for i in range(count)]
    array = home / secrets.token_hex(4)
    array.mkdir(parents=True)
    script = array / "array.sh"
    write_text(script, _script(array, options))
    record = Record(asdict(options), [[str(job.folder.absolute()) for job in share] for share in shares])
    write_text(array / _RECORD, json.dumps(asdict(record), indent=1))
    command = [
        "sbatch",
        "--parsable",
        *options.for_sbatch(),
        f"--job-name={name_of(array)}",
        f"--array=0-{count - 1}%{options.parallel}",
        f"--output={str(array).replace('%', '%%')}/task-%a.log",
        "--open-mode=append",  # a requeued task goes on in its log
        f"--signal=B:USR1@{_SIGNAL_S}",  # B: to the script, which has become `python -m dupekit_slurm`
        str(script),
    ]
    try:
        number = call(command, environment=outside_of_jobs()).strip().partition(";")[0]
    except JobError as error:
        _withdraw(array)
        raise JobError(
            f"sbatch refused the job array: {error}",
            hint="Look at the executor's options, such as --set executor.partition=NAME; `dupekit plugins"
            " show slurm` lists them.",
        ) from error
    except BaseException:
        _withdraw(array)
        raise
    return [Task(f"{number}_{index}", array, share) for index, share in enumerate(shares)]


def take_over(jobs: Sequence[Job], home: Path, options: SlurmOptions) -> list[Task]:
    """The tasks of earlier arrays that are still alive, each with those of its jobs that are wanted.

    Cancels those that have none, and all where they were submitted with other options; returns when these have
    ended. Raises JobError where SLURM gives no answer: whoever submits then may do the same runs twice.
    """
    taken: list[Task] = []
    for record in sorted(home.glob(f"*/{_RECORD}")):
        array = record.parent
        try:
            tasks = _settled(array, jobs, options)
        except JobError as error:
            raise JobError(
                f"An earlier job array, {name_of(array)}, may still be at work on these runs: {error}",
                hint="Nothing was submitted. Look with `squeue --me`: when it answers, and has no task of that array"
                f" that is ending, run the same command again. If the array has surely ended, delete {record}",
            ) from error
        if not tasks:
            forget(array)
        taken += tasks
    return taken


def forget(array: Path) -> None:
    """Takes the record away: the array has ended, and a task of it that starts all the same finds nothing to do."""
    (array / _RECORD).unlink(missing_ok=True)


def _settled(array: Path, jobs: Sequence[Job], options: SlurmOptions) -> list[Task]:
    """The tasks that are wanted, when no other of the array is alive."""
    stop = monotonic() + _ENDING_S
    while True:
        alive = {id_: state for id_, state in states([name_of(array)]).items() if state not in ENDED}
        going_on = [id_ for id_, state in alive.items() if state != "COMPLETING"]
        tasks = _wanted(array, going_on, jobs, options)
        if len(tasks) == len(alive):
            return tasks
        if monotonic() > stop:
            raise JobError(f"it has not ended in {_ENDING_S} seconds")
        cancel(set(going_on) - {task.id for task in tasks})
        sleep(0.5)


def _wanted(array: Path, ids: Collection[str], jobs: Sequence[Job], options: SlurmOptions) -> list[Task]:
    """Of these tasks, those with jobs that are wanted, as these options want them."""
    by_folder = {str(job.folder.absolute()): job for job in jobs}
    try:
        record = Record.of(array)
        folders = {id_: record.tasks[_index(id_)] for id_ in sorted(ids, key=_index)}
        tasks = [
            Task(id_, array, tuple(by_folder[one] for one in own if one in by_folder))
            for id_, own in folders.items()
        ]
    except (ValueError, TypeError, LookupError):  # damaged, or of another version
        return []
    return [task for task in tasks if task.jobs] if record.options == asdict(options) else []


def _withdraw(array: Path) -> None:
    """After sbatch failed: it may have submitted all the same, and only its answer have been lost."""
    with contextlib.suppress(JobError):  # then the record stays, and who comes next asks again
        alive = [id_ for id_, state in states([name_of(array)]).items() if state not in ENDED]
        cancel(alive)
        if not alive:
            forget(array)


def _index(id_: str) -> int:
    return int(id_.rpartition("_")[2])


def _script(array: Path, options: SlurmOptions) -> str:
    task = shlex.join([sys.executable, "-P", "-m", "dupekit_slurm", str(array)])
    return f'#!/bin/bash\n{options.setup or ""}\nexec {task} "$SLURM_ARRAY_TASK_ID"\n'
