"""`python -m dupekit_slurm ARRAY INDEX`: what a task of an array does on its node.

ARRAY is the array's folder. Does those of the task's runs that have no result yet: SLURM may have requeued
the task, so some may have. Where a run takes the worker down with it, another worker does the runs after it.
Ends with the last worker's exit code, or 128 and the number of the signal that ended it, as shells do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from dupekit.api import Job, JobState, worker_command
from dupekit_slurm.records import Record, outcome_of

_ENDING = {
    signal.SIGUSR1: "its time limit is near",
    signal.SIGTERM: "it was cancelled or preempted, or its time is over",
}
_CRASHES = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE}
"""How a worker ends by its own fault or for want of memory, but not when it is told to end."""


class _Work:
    """Workers, one after the other, of which the one at work is told to end when SLURM says so."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None
        self._told: str | None = None
        for number in _ENDING:
            signal.signal(number, self._end)

    def do(self, jobs: Sequence[Job]) -> int:
        rest = [job for job in jobs if outcome_of(job) is None]
        _note(rest, None)  # they wait again, where the task was requeued
        code = 0
        while rest and not self._told:
            self._worker = subprocess.Popen(worker_command(rest))
            if self._told:  # meanwhile
                self._worker.terminate()
            code = self._worker.wait()
            if code not in _CRASHES:
                break
            _say(f"A worker crashed, or had too little memory ({signal.Signals(-code).name}).")
            rest = [job for job in rest if outcome_of(job) is None][1:]
        _note([job for job in jobs if outcome_of(job) is None], JobState.CUT_OFF)
        if self._told:
            _say(self._told)  # again, as the log's last words
        return code

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        name = signal.Signals(number)
        self._told = f"SLURM ends this task ({name.name}): {_ENDING[name]}."
        _say(self._told)
        if self._worker is not None:
            self._worker.terminate()


def _note(jobs: Sequence[Job], state: JobState | None) -> None:
    for job in jobs:
        with contextlib.suppress(OSError):  # it is only told
            job.note(state)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())  # unlike print, also while a signal interrupts it


def main(arguments: Sequence[str]) -> int:
    array, index = Path(arguments[0]), int(arguments[1])
    try:
        folders = Record.of(array).tasks[index]
    except FileNotFoundError as error:
        _say(f"No dupekit waits for this array any more: {error.filename} is gone.")
        return 1
    code = _Work().do([Job(Path(folder).name, Path(folder)) for folder in folders])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
