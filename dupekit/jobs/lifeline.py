"""Whether anybody still waits for what a worker does, and the worker's end where nobody does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

GRACE_S = 3.0
"""So long a plugin that looks at `progress.cancelled` may take to end by itself."""


class Lifeline:
    """Is cut when the parent's end of a pipe closes, or by SIGTERM: `cancelled` is then true, and `GRACE_S` later the
    process ends, whatever it is doing."""

    def __init__(self) -> None:
        self.cancelled = False

    def hold(self, pipe: int, heard: Callable[[bytes | None], None]) -> None:
        """Watches the reading end of a pipe: `heard` is told each line, in a thread, and None at its end. A parent that was killed can tell nobody;
        a pipe that it held always closes."""
        threading.Thread(target=self._wait, args=(pipe, heard), daemon=True).start()

    def heed_sigterm(self) -> None:
        """Called once a process, from its main thread."""
        signal.signal(signal.SIGTERM, lambda *_: self.cut())
        if hasattr(os, "register_at_fork"):
            # A plugin's child that is told to end shall end, as it would have without us. What it is told while it is
            # being made would be lost to Python's own handling: it waits until the child is ready.
            os.register_at_fork(
                before=_hold_sigterm, after_in_parent=_let_sigterm, after_in_child=_die_of_sigterm
            )

    def cut(self) -> None:
        if self.cancelled:
            return
        self.cancelled = True
        end = threading.Timer(GRACE_S, self._end)
        end.daemon = True
        end.start()

    def _end(self) -> None:
        if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():  # with all that it started
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def _wait(self, pipe: int, heard: Callable[[bytes | None], None]) -> None:
        begun = b""
        while content := os.read(pipe, 65536):
            *lines, begun = (begun + content).split(b"\n")
            for line in lines:
                heard(line)
        self.cut()
        heard(None)


def _hold_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _die_of_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_sigterm()
