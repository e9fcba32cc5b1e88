"""What several test modules share."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from dupekit.api import Job, Model, Outcome, PredictTask, Progress, TrainTask, silent
from dupekit.cli.app import exit_code
from dupekit.dataset.columns import DigestColumn, TextColumn
from dupekit.jobs.images import RoundImages, read_images, write_images
from dupekit.jobs.worker import run_batches
from dupekit.ledger import Ledger, exports
from dupekit.project import Project
from dupekit.testing import CentroidTrainer


def refusing(scandir: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """`os.scandir`, but for one folder that may not be read: tests may run as root, whom nothing stops."""

    def refuse(path: Any) -> Any:
        if Path(os.fspath(path)) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    return refuse


@dataclass(frozen=True)
class BrokenOptions:
    how: str = "raise"
    """ "raise", "kill", "classes" or "none"."""
    run: str = "p02-a"
    """The run that goes wrong; "all": each."""


class BrokenTrainer:
    """A centroid trainer of which one run goes wrong in the way that is asked for."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = BrokenOptions
    produces: ClassVar[str] = "centroids"

    def train(self, task: TrainTask, progress: Progress) -> Model:
        options = task.options
        print("a plugin that prints")  # noqa: T201 - must not get among the worker's messages
        if options.run in (task.name, "all"):
            if options.how == "raise":
                raise RuntimeError("it broke")
            if options.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        made = CentroidTrainer().train(dataclasses.replace(task, options=CentroidTrainer.Options()), progress)
        if task.name == options.run and options.how == "classes":
            return dataclasses.replace(made, classes=("else",))
        return made


@dataclass(frozen=True)
class WaitingOptions:
    until: str
    """A file: the run waits until it is there."""
    run: str = "p03-a"


class WaitingTrainer:
    """A centroid trainer of which one run waits."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = WaitingOptions
    produces: ClassVar[str] = "centroids"

    def train(self, task: TrainTask, progress: Progress) -> Model:
        while task.name == task.options.run and not Path(task.options.until).exists():
            time.sleep(0.02)
        return CentroidTrainer().train(dataclasses.replace(task, options=CentroidTrainer.Options()), progress)


class PreparingTrainer(CentroidTrainer):
    """A centroid trainer that has something to do before all runs."""

    def prepare(self, task: TrainTask, progress: Progress) -> None: ...


@dataclass(frozen=True)
class FickleOptions:
    until: int = 99
    """Up to this pair it says what comes to its mind; from then on always the same."""


class FickleValidator:
    """Holds each given label for about as little probable as an image of a score of 2 has it, so that the list is another one
    after each pair. What it says from `until` on is right of every second image."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = FickleOptions
    accepts: ClassVar[frozenset[str]] = frozenset({"centroids"})

    def predict(self, task: PredictTask[FickleOptions], progress: Progress) -> Iterator[NDArray[np.float32]]:
        run = task.model.path.parent.name
        given = [task.model.classes.index(task.pool.paths[row].split("/")[0]) for row in task.rows]
        held = np.random.default_rng(list(run.encode())).uniform(0, 0.24, len(given))
        if int(run[1:3]) > task.options.until:
            held = np.where(task.rows % 2, 0.02, 0.9)
        at = np.arange(len(given))
        found = np.zeros((len(given), len(task.model.classes)), np.float32)
        found[at, given] = held
        found[at, (np.array(given) + 1) % len(task.model.classes)] = 1 - held
        yield found


@dataclass(frozen=True)
class HereOptions:
    """None."""


class HereExecutor:
    """Does the runs in this process: where hundreds of trainings are cut off, workers would take most of the time."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = HereOptions

    def run(self, jobs: Sequence[Job], options: HereOptions, progress: Progress) -> Iterator[Outcome]:
        yield from run_batches([jobs], progress)


class QueueExecutor:
    """Goes on without dupekit, as a cluster does: what is queued stands in a file beside the job folders until `work` does it."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = HereOptions

    def submit(self, jobs: Sequence[Job], options: HereOptions, progress: Progress) -> None:
        queue = queue_of(jobs[0].folder.parent)
        queue.write_text("\n".join(dict.fromkeys([*queue.read_text().split(), *(job.name for job in jobs)])))

    def cancel(self, jobs: Sequence[Job]) -> None:
        queue, gone = queue_of(jobs[0].folder.parent), {job.name for job in jobs}
        queue.write_text("\n".join(name for name in queue.read_text().split() if name not in gone))

    def run(self, jobs: Sequence[Job], options: HereOptions, progress: Progress) -> Iterator[Outcome]:
        for one in jobs:
            job = Job(one.name, one.folder)  # as who finds it by its folder knows it
            while not (outcome := job.outcome()):
                time.sleep(0.02)
            yield outcome

    def dry_run(self, jobs: Sequence[Job], options: HereOptions) -> str:
        return "".join(f"queue {job.folder} --prepare={job.prepares} {'x' * 80}\n" for job in jobs)


def queue_of(runs: Path) -> Path:
    (queue := runs / "queue").touch()
    return queue


def work(runs: Path, *names: str) -> None:
    """Does what is queued, or only these of it."""
    queue = queue_of(runs)
    queued = queue.read_text().split()
    done = [name for name in queued if name in names or not names]
    list(run_batches([[Job(name, runs / name) for name in done]], silent))
    queue.write_text("\n".join(name for name in queued if name not in done))


class TalkativeTrainer(CentroidTrainer):
    """A centroid trainer that tells of every step, thousands of them within a moment."""

    STEPS: ClassVar[int] = 20_000

    def train(self, task: TrainTask, progress: Progress) -> Model:
        for step in range(self.STEPS):
            progress("stepping", step + 1, self.STEPS, loss=1 / (step + 1))
            progress("looking back", step // 2, self.STEPS)
        return super().train(task, progress)


def moved_project(source: Path, target: Path, places: tuple[Path, Path]) -> Project:
    """A copy of a project, in which one absolute path, that of its surroundings, is replaced by another."""
    shutil.copytree(source, target)
    old, new = (str(place) for place in places)
    for file in (target / "dupekit.toml", *target.glob("rounds/*/images.json")):
        file.write_text(file.read_text().replace(f"{old}/", f"{new}/"))
    for file in target.glob("rounds/*/images.npz"):
        lists = lists_of(file)
        write_lists(
            file, lists | {"dataset": f"{lists['dataset']}/".replace(f"{old}/", f"{new}/").rstrip("/")}
        )
    with contextlib.closing(sqlite3.connect(target / "ledger.db")) as db, db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        for table, column in PLACES:
            if table not in tables:  # of an older dupekit
                continue
            db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (f"{old}/", f"{new}/"))
    return Project(target)


def lists_of(file: Path) -> dict[str, Any]:
    """images.npz, or an images.json, with lists in place of its arrays and columns."""
    images = read_images(file)
    found = {field.name: getattr(images, field.name) for field in dataclasses.fields(images)}
    arrays = {name: value.tolist() for name, value in found.items() if isinstance(value, np.ndarray)}
    return found | arrays | {"paths": [*images.paths], "digests": [*images.digests]}


def write_lists(file: Path, lists: dict[str, Any]) -> None:
    """Writes an images.npz of what `lists_of` gives."""
    groups = lists["groups"]
    columns = {
        "ids": np.array(lists["ids"], np.int64),
        "paths": TextColumn.of(lists["paths"]),
        "digests": DigestColumn.of(lists["digests"]),
        "sizes": np.array(lists["sizes"], np.int32),
        "labels": np.array(lists["labels"], np.int32),
        "groups": None if groups is None else np.array(groups, np.int64),
    }
    write_images(file, RoundImages(**(lists | columns)))


PLACES = (
    ("rounds", "dataset"),
    ("exports", "tree"),
    ("collections", "tree"),
    ("applications", "destination"),
    ("endings", "before"),
    ("endings", "dataset"),
)
"""Where a ledger holds absolute paths."""


CLASSES = ("amoeba", "ciliate", "diatom")
"""Of the template's dataset: so that all of them are finished."""


def call_back(project: Project) -> None:
    """Calls all trees of the first round back, so that a further one may hold the same images."""
    with Ledger(project.path / "ledger.db") as ledger:
        for export in exports.of_round(ledger, 1):
            exports.withdraw(ledger, export.number)


class Killed(BaseException):
    """As by SIGKILL: nothing that catches errors catches it."""


class Killer:
    """Counts steps of the code under test, and ends it before the one of this number."""

    def __init__(self, step: int) -> None:
        self.left = step

    def before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """A step that is counted."""

        def counted(*values: Any, **named: Any) -> Any:
            self.left -= 1
            if not self.left:
                raise Killed
            return real(*values, **named)

        return counted

    def unless_dead(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """What clears up: who was killed does not come to it."""
        return lambda *values, **named: real(*values, **named) if self.left > 0 else None


def tree_state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with its content and modification time."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Terminal:
    """Our end of a pseudo-terminal: calling it reads, nothing at the end."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.resize(lines=24, columns=80)

    def __call__(self) -> bytes:
        with contextlib.suppress(OSError):  # so Linux says that nobody has it open any more
            return os.read(self.handle, 65536)
        return b""

    def write(self, keys: bytes) -> None:
        os.write(self.handle, keys)

    def resize(self, *, lines: int, columns: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextlib.contextmanager
def on_terminal(command: list[str], **options: Any) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """A command on a pseudo-terminal of 80 columns and 24 lines, and what reads of it."""
    import pty

    ours, terminal = pty.openpty()
    read = Terminal(ours)
    # Its size and no other: readline, which pytest loads, leaves these to what pytest starts.
    inherited = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
    with subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**inherited, "TERM": "xterm"},
        **options,
    ) as process:
        os.close(terminal)
        try:
            yield process, read
        finally:
            process.kill()
            os.close(ours)


def until(condition: Callable[[], object]) -> None:
    """Waits until it holds, at most half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.02)


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    stdout: str
    stderr: str


class Shown(io.TextIOWrapper):
    """What a terminal shows."""

    def isatty(self) -> bool:
        return True


def dupekit(*arguments: object, cwd: Path | None = None, code: int = 0, columns: int | None = None) -> Said:
    """A command as a user types it, in this process: another one for each would take most of the tests' time. With
    `columns` on a terminal that is so wide, else into a pipe."""
    stream = io.TextIOWrapper if columns is None else Shown
    out, err = (stream(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd or Path.cwd()):
        patch.setattr(sys, "argv", ["dupekit", *map(str, arguments)])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        if columns is not None:
            patch.setenv("COLUMNS", str(columns))
            patch.setenv("TERM", "xterm")
        try:
            done = exit_code()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    said = Said(*(stream.buffer.getvalue().decode() for stream in (out, err) if not stream.flush()))
    assert done == code, said.stderr
    return said


def dupekit_apart(*arguments: object, code: int = 0) -> Said:
    """The same in a process of its own, for what could end this one."""
    command = [sys.executable, "-m", "dupekit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return Said(done.stdout, done.stderr)


def parsed(*arguments: object, cwd: Path | None = None) -> Any:
    """What a command prints with --json."""
    return json.loads(dupekit(*arguments, "--json", cwd=cwd).stdout)
