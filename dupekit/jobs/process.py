"""A worker as a process of its own: started, given jobs, heard, ended."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dupekit.files.regular import open_regular
from dupekit.jobs.lifeline import GRACE_S
from dupekit.jobs.messages import FLAG, Message, parse, write_order
from dupekit.plugin.contract import Job, worker_command

LINGER_S = 10.0
"""So long a worker whose runs are all done may take to end: a thread that a plugin left behind would keep it for ever."""

LINES = 5
"""Of its log, in the message of its death."""

_ENOUGH = 65536
"""Bytes at the end of a log, for so many lines."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker told; None: it has ended, and will tell nothing more."""

    worker: WorkerProcess
    message: Message | None


class WorkerProcess:
    """A worker process in a session of its own, so that all that it starts can be ended with it. All that it tells goes into `heard`,
    which several may share.

    Its end is the end of the process, not of its output: a child that a plugin left behind holds that open.
    """

    def __init__(
        self, jobs: Sequence[Job], log: Path, heard: queue.SimpleQueue[Heard], environment: Mapping[str, str]
    ) -> None:
        self._heard = heard
        self._log = log
        self._code = 0
        with open_regular(log, "a+b") as file:
            self._log_begins = file.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                [*worker_command(jobs), FLAG],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
                start_new_session=True,
                env={**os.environ, **environment},
            )
        self._lingering = threading.Timer(LINGER_S, self.let_go)
        self._lingering.daemon = True
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._listener.start()
        self._waiter.start()

    def take(self, jobs: Sequence[Job]) -> bool:
        """Gives it more to do; False where it has died."""
        return self._waiter.is_alive() and self._order(jobs)

    def expect_end(self) -> None:
        """It has nothing more to do."""
        self._order([])
        self._lingering.start()

    def let_go(self) -> None:
        """Tells it to end, whatever it is doing. A plugin that looks at `progress.cancelled` may end by itself."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of an order that it did not live to read
            self._process.stdin.close()

    def close(self) -> None:
        """Ends it, and waits for its end."""
        self._lingering.cancel()
        self.let_go()
        try:
            self._waiter.join(GRACE_S + 2)
        finally:  # also where somebody presses Ctrl-C again
            if self._waiter.is_alive():
                self._kill()
                self._waiter.join()

    def death(self) -> str:
        """How it ended, once it has, with the last lines of its log."""
        code = self._code
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = " (does a plugin call os._exit?)" if code >= 0 else ""
        if code == -9:
            hint = " (9: often out of memory)"
        lines = self._last_lines()
        said = f" Its last words: {' | '.join(lines)}." if lines else ""
        return f"The worker {how}{hint} during this run.{said} See {self._log}"

    def _last_lines(self) -> list[str]:
        """Of what this process wrote: one before it may have written into the same file."""
        with contextlib.suppress(OSError), open_regular(self._log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_begins, size - _ENOUGH))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
            return [line.strip() for line in lines if line.strip()][-LINES:]
        return []

    def _order(self, jobs: Sequence[Job]) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(write_order(str(job.folder.absolute()) for job in jobs))
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                if message := parse(line):
                    self._heard.put(Heard(self, message))

    def _wait(self) -> None:
        if hasattr(os, "waitid"):  # before its end is taken note of, its number is nobody else's
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        self._kill()  # what it left behind
        self._code = self._process.wait()
        self._listener.join(1)  # a child that left the session may hold the output open for ever
        self._heard.put(Heard(self, None))

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
