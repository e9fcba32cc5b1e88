"""Job arrays: submitted, taken over, cancelled.

An array is a folder `.slurm/KEY` beside the job folders, and is called "dupekit-KEY" in SLURM. It holds
text only: `array.json`, what the tasks do and with which options; `array.sh`, what each runs; and a log a task. Where a job
decodes the images first, `decode.sh` and `decode.log` are its. array.json is there before sbatch is called, and as long as the
array may be at work: a dupekit that comes after one that was killed at any moment finds its array by it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

from dupekit.api import Job, JobError, prepare_command, write_text
from dupekit_slurm.commands import ENDED, call, cancel, outside_of_jobs, states
from dupekit_slurm.options import SlurmOptions
from dupekit_slurm.records import (
    Record,
    Task,
    concerned,
    forget,
    index_of,
    name_of,
    outcome_of,
    record_of,
    records_in,
    tasks_with,
    write_record,
)

_LOG = logging.getLogger("dupekit.slurm")

_ARRAY, _DECODE = "array.sh", "decode.sh"
_DECODED = "decoded"
"""The file beside the arrays that says that the images of the round are decoded."""
_OF_DECODING = "-decode"
_SBATCH = ("sbatch", "--parsable")
_SIGNAL_S = 30
"""How long before its time limit a task is told to end. SLURM looks now and then, and may be a minute early."""
_COMPLETING = "COMPLETING"
"""Of a task that is ending, and may write a last word."""
_ENDING_S = 120
"""How long tasks that were cancelled may take to end: SLURM kills after KillWait, 30 seconds by default."""


@dataclass(frozen=True, slots=True)
class Submission:
    """An array that is to be submitted."""

    array: Path
    """Its folder, which need not exist yet."""
    shares: list[tuple[Job, ...]]
    """The jobs of each task."""
    decodes: Job | None
    """By which the images of all are decoded first; None: they are not."""
    options: SlurmOptions

    @staticmethod
    def of(jobs: Sequence[Job], home: Path, options: SlurmOptions, *, key: str) -> Submission:
        """In shares of equal size, none over `jobs_per_task`."""
        count = -(-len(jobs) // options.jobs_per_task)
        shares = [tuple(jobs[i * len(jobs) // count : (i + 1) * len(jobs) // count]) for i in range(count)]
        first = next((job for job in jobs if job.prepares), None)
        decodes = first if options.decodes_first and not (home / _DECODED).exists() else None
        return Submission(home / key, shares, decodes, options)

    @property
    def scripts(self) -> dict[str, str]:
        """By the names of their files in the array's folder."""
        task = shlex.join([sys.executable, "-P", "-m", "dupekit_slurm", str(self.array)])
        scripts = {_ARRAY: self._script(f'exec {task} "$SLURM_ARRAY_TASK_ID"')}
        if self.decodes:
            mark = shlex.quote(str(self.array.parent / _DECODED))
            scripts[_DECODE] = self._script(f"{shlex.join(prepare_command(self.decodes))} && touch {mark}")
        return scripts

    def decode_command(self) -> list[str]:
        return [
            *_SBATCH,
            *self.options.for_decoding(),
            f"--job-name={name_of(self.array)}{_OF_DECODING}",
            f"--output={self._escaped}/decode.log",
            str(self.array / _DECODE),
        ]

    def command(self, *, after: str | None) -> list[str]:
        """`after`: the number of the job that decodes."""
        return [
            *_SBATCH,
            *([f"--dependency=afterany:{after}"] if after else []),
            *self.options.for_sbatch(),
            f"--job-name={name_of(self.array)}",
            f"--array=0-{len(self.shares) - 1}%{self.options.parallel}",
            f"--output={self._escaped}/task-%a.log",
            "--open-mode=append",  # a requeued task goes on in its log
            f"--signal=B:USR1@{_SIGNAL_S}",  # B: to the script, which has become `python -m dupekit_slurm`
            str(self.array / _ARRAY),
        ]

    @property
    def _escaped(self) -> str:
        return str(self.array).replace("%", "%%")

    def _script(self, command: str) -> str:
        return f"#!/bin/bash\n{self.options.setup or ''}\n{command}\n"


def submit(jobs: Sequence[Job], home: Path, options: SlurmOptions) -> list[Task]:
    """Submits the jobs as one array, and before it the job that decodes, where that is to be.

    Raises JobError with sbatch's own words where it refuses.
    """
    if not jobs:
        return []
    new = Submission.of(jobs, home, options, key=secrets.token_hex(4))
    new.array.mkdir(parents=True)
    for name, script in new.scripts.items():
        write_text(new.array / name, script)
    folders = [[str(job.folder.absolute()) for job in share] for share in new.shares]
    write_record(new.array, Record(asdict(options), folders))
    for job in jobs:
        job.note(None)
    try:
        after = None
        if new.decodes:
            after = _sbatch(
                new.decode_command(),
                "the job that decodes the images",
                "Name a partition that takes jobs without a GPU: --set executor.decode_partition=NAME. Or leave"
                " decoding to the GPU's job: --set executor.decode=no",
            )
        number = _sbatch(
            new.command(after=after),
            "the job array",
            "Look at the executor's options, such as --set executor.partition=NAME; `dupekit plugins"
            " show slurm` lists them.",
        )
    except BaseException:
        _withdraw(new.array)
        raise
    return [Task(f"{number}_{index}", new.array, share) for index, share in enumerate(new.shares)]


def _sbatch(command: Sequence[str], what: str, hint: str) -> str:
    """The number of the job that it submits."""
    try:
        return call(command, environment=outside_of_jobs()).strip().partition(";")[0]
    except JobError as error:
        raise JobError(f"sbatch refused {what}: {error}", hint=hint) from error


def cancel_tasks(tasks: Collection[Task]) -> None:
    """Cancels these, and the jobs that decode for them. Raises JobError where SLURM gives no answer."""
    cancel([task.id for task in tasks])
    for array in {task.array for task in tasks}:
        _cancel_decoding(array)


def cancel_jobs(jobs: Sequence[Job], home: Path) -> None:
    """Cancels every task that has one of these jobs, of whatever array, and returns when they have ended.

    Raises JobError where SLURM gives no answer, or they do not end.
    """
    arrays = [record.parent for record in records_in(home)]

    def left() -> bool:
        found = False
        for array in arrays:
            alive = _alive(array)
            ending = concerned(array, alive, jobs)
            _end(array, alive, ending)
            found |= bool(ending)
            if not alive:
                forget(array)
        return found

    _wait_while(left)


def take_over(jobs: Sequence[Job], home: Path, options: SlurmOptions) -> list[Task]:
    """The tasks of earlier arrays that are still alive, each with those of its jobs that are wanted.

    Cancels those that were submitted with other options, and returns when they have ended. Tasks that have none of the jobs are
    left alone. Raises JobError where SLURM gives no answer: whoever submits then may do the same runs twice.
    """
    taken: list[Task] = []
    for record in records_in(home):
        array = record.parent
        try:
            alive = _settled(array, jobs, options)
        except JobError as error:
            raise JobError(
                f"An earlier job array, {name_of(array)}, may still be at work on these runs: {error}",
                hint="Nothing was submitted. Look with `squeue --me`: when it answers, and has no task of that array"
                f" that is ending, run the same command again. If the array has surely ended, delete {record}",
            ) from error
        _tell_lost(array, jobs, options, alive)
        if alive:
            taken += tasks_with(array, alive, jobs)
        else:
            forget(array)
    return taken


def _tell_lost(array: Path, jobs: Sequence[Job], options: SlurmOptions, alive: Collection[str]) -> None:
    """Why runs are submitted again: nobody may have waited when their task ended. `alive` are the tasks that have not."""
    if (record := record_of(array)) is None or not record.is_as_wanted(array, options):
        return
    indices = {index_of(id_) for id_ in alive}
    ended = [str(index) for index in range(len(record.tasks)) if index not in indices]
    for task in tasks_with(array, ended, [job for job in jobs if outcome_of(job) is None]):
        runs = ", ".join(job.name for job in task.jobs)
        _LOG.warning("An earlier task ended without %s, to be submitted again. %s", runs, task.last_words())


def _settled(array: Path, jobs: Sequence[Job], options: SlurmOptions) -> Collection[str]:
    """The tasks that are alive, when those of them that have one of these jobs are as wanted, and none is ending."""
    record = record_of(array)
    as_wanted = record is not None and record.is_as_wanted(array, options)
    alive: dict[str, str] = {}
    if record and (others := record.other_options(options)) and concerned(array, _alive(array), jobs):
        _LOG.warning(
            "%s was submitted with other options (%s): its tasks are cancelled.", name_of(array), others
        )

    def left() -> bool:
        nonlocal alive
        alive = _alive(array)
        ending = [id_ for id_ in concerned(array, alive, jobs) if not as_wanted or alive[id_] == _COMPLETING]
        _end(array, alive, ending)
        return bool(ending)

    _wait_while(left)
    return alive


def _wait_while(left: Callable[[], bool]) -> None:
    """Raises JobError where it goes on for too long."""
    stop = None
    while left():
        if stop is None:
            stop = monotonic() + _ENDING_S
            _LOG.info("Waiting until earlier SLURM tasks have ended.")
        if monotonic() > stop:
            raise JobError(f"what was cancelled has not ended in {_ENDING_S} seconds")
        sleep(0.5)


def _alive(array: Path) -> dict[str, str]:
    """The states of its tasks that may do something still."""
    return {id_: state for id_, state in states([name_of(array)]).items() if state not in ENDED}


def _end(array: Path, alive: Mapping[str, str], ids: Collection[str]) -> None:
    """Cancels these of the tasks that are alive, and the job that decodes where no other needs it."""
    cancel([id_ for id_ in ids if alive[id_] != _COMPLETING])
    if ids and len(ids) == len(alive):
        _cancel_decoding(array)


def _cancel_decoding(array: Path) -> None:
    if (array / _DECODE).exists():
        call(["scancel", "--quiet", f"--name={name_of(array)}{_OF_DECODING}"])


def _withdraw(array: Path) -> None:
    """After sbatch failed: it may have submitted all the same, and only its answer have been lost."""
    with contextlib.suppress(JobError):  # then the record stays, and who comes next asks again
        known = states([name_of(array)])
        alive = [id_ for id_, state in known.items() if state not in ENDED]
        cancel(alive)
        _cancel_decoding(array)
        if not alive:
            forget(array)
        if not known:  # it was refused
            shutil.rmtree(array, ignore_errors=True)
