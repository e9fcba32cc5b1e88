"""A trainer that does in one of its runs what a plugin must not, in a worker process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dupekit.api import Model, Progress, TrainTask
from dupekit.testing import CentroidTrainer


@dataclass(frozen=True)
class Options:
    how: str = field(metadata={"help": "the name of a method"})
    notes: str = field(metadata={"help": "a file that is told what happened"})
    run: str = field(default="p01-a", metadata={"help": "the run that does it; all: each"})


class Misbehaving(CentroidTrainer):
    Options: ClassVar[type] = Options

    def train(self, task: TrainTask[Any], progress: Progress) -> Model:
        options = task.options
        if options.run in (task.name, "all"):
            getattr(self, options.how)(Path(options.notes), progress)
        return CentroidTrainer().train(_with(task), progress)

    def exits(self, notes: Path, progress: Progress) -> None:
        os._exit(0)

    def exits_once(self, notes: Path, progress: Progress) -> None:
        if not notes.exists():
            notes.touch()
            os._exit(3)

    def exits_talking(self, notes: Path, progress: Progress) -> None:
        with notes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        print(*(f"line {number}" for number in range(1, 8)), sep="\n", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(3)

    def waits_for_another(self, notes: Path, progress: Progress) -> None:
        _note(notes)
        two(notes)

    def dies_beside_another(self, notes: Path, progress: Progress) -> None:
        """Once, and of two workers one."""
        _note(notes)
        if os.getpid() == max(two(notes)) and not (notes / "died").exists():
            (notes / "died").touch()
            os._exit(3)

    def hears_nothing_beside_another(self, notes: Path, progress: Progress) -> None:
        _note(notes)
        time.sleep(600)

    def notes(self, notes: Path, progress: Progress) -> None:
        _note(notes)

    def leaves_a_fork(self, notes: Path, progress: Progress) -> None:
        if pid := os.fork():
            notes.write_text(str(pid))
        else:
            time.sleep(600)

    def leaves_a_command(self, notes: Path, progress: Progress) -> None:
        notes.write_text(str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid))

    def leaves_a_daemon(self, notes: Path, progress: Progress) -> None:
        if pid := os.fork():
            notes.write_text(str(pid))
        else:
            os.setsid()
            time.sleep(600)

    def leaves_a_thread(self, notes: Path, progress: Progress) -> None:
        notes.write_text(str(os.getpid()))
        threading.Thread(target=time.sleep, args=(600,)).start()

    def cannot_be_closed(self, notes: Path, progress: Progress) -> None:
        self.close = lambda: 1 / 0

    def reads(self, notes: Path, progress: Progress) -> None:
        notes.write_text(repr((sys.stdin.read(), os.read(0, 1))))

    def prints(self, notes: Path, progress: Progress) -> None:
        print('{"kind": "ended"}')  # noqa: T201
        os.write(1, b"half a line")

    def heeds(self, notes: Path, progress: Progress) -> None:
        notes.write_text(str(os.getpid()))
        while not progress.cancelled:
            time.sleep(0.01)
        notes.write_text("cancelled")
        raise InterruptedError

    def hears_nothing(self, notes: Path, progress: Progress) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        notes.write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)

    def terminates_a_fork(self, notes: Path, progress: Progress) -> None:
        """As multiprocessing does with its workers: SIGTERM must end the child, and nobody else."""
        pid = os.fork()
        if not pid:
            time.sleep(600)
        os.kill(pid, signal.SIGTERM)
        notes.write_text(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])} {progress.cancelled}")


def _note(notes: Path) -> None:
    """Leaves a file for this worker, which says what it may use."""
    notes.mkdir(exist_ok=True)
    used = [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
    (notes / str(os.getpid())).write_text("\n".join(used))


def two(notes: Path) -> list[int]:
    """The process ids of two workers, when both are at work."""
    while len(found := [int(file.name) for file in notes.iterdir() if file.name.isdecimal()]) < 2:
        time.sleep(0.01)
    return found


def _with(task: TrainTask[Any]) -> TrainTask[Any]:
    import dataclasses

    return dataclasses.replace(task, options=CentroidTrainer.Options())
