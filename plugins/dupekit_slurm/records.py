"""What is remembered of job arrays, across processes: `array.json` in the folder `.slurm/KEY` of each."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dupekit.api import Job, Outcome, write_text
from dupekit_slurm.options import SlurmOptions

RECORD = "array.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What array.json holds."""

    options: dict[str, Any]
    tasks: list[list[str]]
    """The job folders of each task, by its index."""
    detached: bool = False
    """Whether it goes on when nobody waits for it any more."""

    @staticmethod
    def of(array: Path) -> Record:
        """Raises FileNotFoundError where nobody waits for this array any more, ValueError or TypeError where it is damaged."""
        record = Record(**json.loads((array / RECORD).read_bytes()))
        if not isinstance(record.options, dict) or not all(
            isinstance(folder, str) for share in record.tasks for folder in share
        ):
            raise TypeError
        return record

    def other_options(self, options: SlurmOptions) -> str:
        """Those that it was submitted with otherwise, as in "jobs_per_task 1, now 2"; empty where there are none."""
        now = asdict(options)
        return ", ".join(
            f"{name} {before}, now {now.get(name)}"
            for name, before in self.options.items()
            if before != now.get(name)
        )

    def is_as_wanted(self, array: Path, options: SlurmOptions) -> bool:
        """Whether its tasks do with these options what lies where its array does now, for a project may have been moved."""
        folders = {Path(folder).parent for share in self.tasks for folder in share}
        return self.options == asdict(options) and folders == {array.parent.parent}


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
        return self.array / f"task-{index_of(self.id)}.log"

    def last_words(self) -> str:
        """What it said last, and where."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return f"It wrote no log, {self.log}: is that on a file system that the nodes share?"
        return f"Its last words: {lines[-1]} See {self.log}" if lines else f"See {self.log}"


def name_of(array: Path) -> str:
    """What SLURM calls the array of this folder."""
    return f"dupekit-{array.name}"


def forget(array: Path) -> None:
    """Takes the record away: the array has ended, and a task of it that starts all the same finds nothing to do."""
    (array / RECORD).unlink(missing_ok=True)


def forget_unless_others(array: Path, told: Collection[Job]) -> None:
    """Takes the record away where nothing can come of the array any more: it has no other jobs than these, but such that have
    ended."""
    record, runs = record_of(array), array.parent.parent
    names = {Path(folder).name for share in record.tasks for folder in share} if record else set()
    if all(outcome_of(Job(name, runs / name)) for name in names - {job.folder.name for job in told}):
        forget(array)


def outcome_of(job: Job) -> Outcome | None:
    """As `Job.outcome`; None, too, where the folder cannot be read: what is wrong shows when its task has ended."""
    try:
        return job.outcome()
    except OSError:
        return None


def concerned(array: Path, ids: Collection[str], jobs: Sequence[Job]) -> list[str]:
    """Which of these tasks have one of the jobs; all, where nobody knows."""
    try:
        return [task.id for task in tasks_with(array, ids, jobs)]
    except LookupError:
        return _ordered(ids)


def tasks_with(array: Path, ids: Collection[str], jobs: Sequence[Job]) -> list[Task]:
    """Of these tasks those that have one of the jobs, each with those. Raises LookupError where nobody knows which have."""
    record = record_of(array)
    if record is None:
        raise LookupError
    by_name = {job.folder.name: job for job in jobs}  # of one round, wherever that lies
    found = {id_: [Path(folder).name for folder in record.tasks[index_of(id_)]] for id_ in ids}
    tasks = [
        Task(id_, array, tuple(by_name[name] for name in found[id_] if name in by_name))
        for id_ in _ordered(ids)
    ]
    return [task for task in tasks if task.jobs]


def detach(array: Path) -> None:
    """Has it go on when nobody waits for it any more."""
    if record := record_of(array):
        write_record(array, replace(record, detached=True))


def is_detached(array: Path) -> bool:
    record = record_of(array)
    return record is not None and record.detached


def write_record(array: Path, record: Record) -> None:
    write_text(array / RECORD, json.dumps(asdict(record), indent=1))


def records_in(home: Path) -> list[Path]:
    """Of the arrays that may be at work. Of a copied project they are those of the original, which goes on with them."""
    return sorted(record for record in home.glob(f"*/{RECORD}") if not _is_copy(record))


def _is_copy(file: Path) -> bool:
    """Whether a record still stands where its array was submitted, and is another file there."""
    if (record := record_of(file.parent)) is None:
        return False
    places = {
        Path(folder).parent / file.relative_to(file.parents[2]) for share in record.tasks for folder in share
    }
    return any(place.exists() and not place.samefile(file) for place in places)


def record_of(array: Path) -> Record | None:
    """None where it is missing, damaged, or of another version."""
    try:
        return Record.of(array)
    except (OSError, ValueError, TypeError):
        return None


def index_of(id_: str) -> int:
    """A task's number in its array."""
    return int(id_.rpartition("_")[2])


def _ordered(ids: Collection[str]) -> list[str]:
    return sorted(ids, key=index_of)
