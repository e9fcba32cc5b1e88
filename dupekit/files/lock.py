"""Locks of the system: one at work at a time, known by name."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from dupekit.errors import LockedError
from dupekit.files.json_text import parse_json
from dupekit.files.regular import open_regular, read_regular, require_regular
from dupekit.files.write import naming
from dupekit.system.processes import started
from dupekit.system.stamp import now

_SUFFIX = ".holder"
_TOLERANCE = timedelta(seconds=5)
"""The system says when a process began on a second or two."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock."""

    what: str
    """The command."""
    pid: int
    host: str
    since: str
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        return f"`dupekit {self.what}`, process {self.pid} on {self.host}, since {self.since}"


def at_work(path: Path) -> Holder | None:
    """Which other process holds a lock, as its file says; nothing is locked for it. None where that process is no more, though
    another has its number by now, or where that cannot be seen: on another computer, or on Windows."""
    holder = _holder(path)
    if holder is None or holder.pid == os.getpid() or holder.host != platform.node():
        return None
    if os.name == "nt":  # there, os.kill would end it
        return None
    try:
        os.kill(holder.pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # somebody else's
    return None if _is_later(holder) else holder


def _is_later(holder: Holder) -> bool:
    """Whether the process of this number was started after the lock was taken, so is another one."""
    began = started(holder.pid)
    try:
        return began is not None and began > datetime.fromisoformat(holder.since) + _TOLERANCE
    except (ValueError, TypeError, OverflowError):  # no time, or one of no zone
        return False


def _holder(path: Path) -> Holder | None:
    try:
        by = parse_json(read_regular(path.with_name(f"{path.name}{_SUFFIX}")))
        holder = Holder(str(by["what"]), int(by["pid"]), str(by["host"]), str(by["since"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return holder if holder.pid > 0 else None


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while the block runs; the system frees it when the process dies, however it dies.

    Raises LockedError at once where another process holds it, naming the holder.
    """
    holder = path.with_name(f"{path.name}{_SUFFIX}")
    if not path.parent.is_dir():  # FileLock would make it, and with it, perhaps, a review tree's marker
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    require_regular(path)
    # Without the system's locks there would be no promise; and looking for them, filelock 4.3 fails on smbnetfs.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = _holder(path) or "another process"
        raise LockedError(
            f"{path.parent} is in use by {who}.", hint="Wait until it has finished, or end it there."
        ) from None
    made: tuple[int, int] | None = None
    try:
        entry = {"what": what, "pid": os.getpid(), "host": platform.node(), "since": now()}
        with naming(holder):
            holder.unlink(missing_ok=True)  # of a process that was killed
            with open_regular(holder, "xb") as file:
                file.write(json.dumps(entry).encode())
                made = _number(os.fstat(file.fileno()))
        yield
    finally:
        with contextlib.suppress(OSError):  # on a share that has gone away
            if made == _number(holder.lstat()):  # not that of another folder that took this one's place
                holder.unlink()
        with contextlib.suppress(OSError):  # likewise; the system frees the lock
            lock.release()


def _number(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
