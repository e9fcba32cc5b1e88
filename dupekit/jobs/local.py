"""The executor "local": one worker process on this machine, which keeps data and models between runs, and between calls."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dupekit.files.regular import open_regular
from dupekit.jobs.lifeline import GRACE_S
from dupekit.jobs.messages import FLAG, STARTING, Ended, Logged, Message, parse, write_order
from dupekit.plugin.checks import Told
from dupekit.plugin.contract import Job, Outcome, worker_command
from dupekit.system.progress import Progress, silent, stage

LOG = "worker.log"

_ENDING = "ending the worker"

LINGER_S = 10.0
"""So long a worker whose runs are all done may take to end: a thread that a plugin left behind would keep it for ever."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The local executor has no options."""


class LocalExecutor:
    """Runs all jobs in one worker process, which then waits for more; when it dies, the run it was at has failed, and
    another worker takes up the rest."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = LocalOptions

    def __init__(self) -> None:
        self._worker: _Worker | None = None
        self._progress: Progress = silent

    def run(
        self,
        jobs: Sequence[Job],
        options: LocalOptions,  # noqa: ARG002
        progress: Progress,
    ) -> Generator[Outcome, None, None]:
        """Yields an outcome per job, in order. Closing the iterator ends the worker, and all that it started."""
        self._progress = progress
        waiting = {str(job.folder.absolute()): job for job in jobs}
        try:
            while waiting:
                log = next(iter(waiting.values())).folder.parent / LOG
                worker = self._at_work(list(waiting.values()), log)
                for message in worker.messages():
                    if not isinstance(message, Ended):
                        self._tell(message)
                        continue
                    yield Outcome(waiting.pop(message.folder), message.error)
                    if not waiting:
                        return
                self._end(worker)
                # What it did not live to say stands in the folders.
                for folder, job in list(waiting.items()):
                    if outcome := job.outcome():
                        del waiting[folder]
                        yield outcome
                if waiting:
                    job = waiting.pop(next(iter(waiting)))
                    yield Outcome(job, _death(worker.code, log))
        finally:
            if waiting and self._worker:
                self._end(self._worker)

    def close(self) -> None:
        """Ends the worker, when its plugins are closed."""
        if self._worker:
            self._progress(_ENDING, 0, 1)
            try:
                self._worker.expect_end()
                for message in self._worker.messages():
                    self._tell(message)
            finally:
                self._end(self._worker)

    def _at_work(self, jobs: Sequence[Job], log: Path) -> _Worker:
        """The worker that waits, or else a new one, with these jobs."""
        if self._worker and not self._worker.take(jobs):
            self._end(self._worker)
        if not self._worker:
            self._progress(STARTING, 0, 1)  # the worker itself says when it has
            self._worker = _Worker(jobs, log)
        return self._worker

    def _end(self, worker: _Worker) -> None:
        self._worker = None
        with stage(self._progress, _ENDING):
            worker.close()

    def _tell(self, message: Message) -> None:
        if isinstance(message, Logged):
            logging.getLogger(message.logger).log(message.level, "%s", message.text)
        elif isinstance(message, Told):
            self._progress(message.stage, message.done, message.total, **message.figures)


class _Worker:
    """A worker process in a session of its own, so that all that it starts can be ended with it.

    Its end is the end of the process, not of its output: a child that a plugin left behind holds that open.
    """

    def __init__(self, jobs: Sequence[Job], log: Path) -> None:
        self.code = 0
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        with open_regular(log, "a+b") as file:
            self._process = subprocess.Popen(
                [*worker_command(jobs), FLAG],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        self._lingering = threading.Timer(LINGER_S, self._let_go)
        self._lingering.daemon = True
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._listener.start()
        self._waiter.start()

    def messages(self) -> Iterator[Message]:
        """What it tells, until the process has ended; `code` is then its exit code."""
        while (message := self._heard.get()) is not None:
            yield message

    def take(self, jobs: Sequence[Job]) -> bool:
        """Gives it more to do; False where it has died."""
        return self._waiter.is_alive() and self._order(jobs)

    def expect_end(self) -> None:
        """It has nothing more to do."""
        self._order([])
        self._lingering.start()

    def _order(self, jobs: Sequence[Job]) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(write_order(str(job.folder.absolute()) for job in jobs))
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Ends it. A plugin that looks at `progress.cancelled` may end by itself."""
        self._lingering.cancel()
        self._let_go()
        try:
            self._waiter.join(GRACE_S + 2)
        finally:  # also where somebody presses Ctrl-C again
            if self._waiter.is_alive():
                self._kill()
                self._waiter.join()

    def _let_go(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of an order that it did not live to read
            self._process.stdin.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                if message := parse(line):
                    self._heard.put(message)

    def _wait(self) -> None:
        if hasattr(os, "waitid"):  # before its end is taken note of, its number is nobody else's
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        self._kill()  # what it left behind
        self.code = self._process.wait()
        self._listener.join(1)  # a child that left the session may hold the output open for ever
        self._heard.put(None)

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()


def _death(code: int, log: Path) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    hint = (
        " (9: often out of memory)" if code == -9 else " (does a plugin call os._exit?)" if code >= 0 else ""
    )
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    last = f" Its last words: {tail[0]}" if tail else ""
    return f"The worker {how}{hint} during this run.{last} See {log}"
