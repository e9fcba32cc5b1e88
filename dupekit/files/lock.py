"""Locks of the system: one at work at a time, known by name."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dupekit.errors import LockedError
from dupekit.files.json_text import read_json
from dupekit.files.regular import open_regular, read_regular, require_regular
from dupekit.files.write import naming
from dupekit.system.stamp import now


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while the block runs; the system frees it when the process dies, however it dies.

    Raises LockedError at once where another process holds it, naming the holder.
    """
    holder = path.with_name(f"{path.name}.holder")
    if not path.parent.is_dir():  # FileLock would make it, and with it, perhaps, a review tree's marker
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    require_regular(path)
    # Without the system's locks there would be no promise; and looking for them, filelock 4.3 fails on smbnetfs.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            by = read_json(read_regular(holder))
            who = f"`dupekit {by['what']}`, process {by['pid']} on {by['host']}, since {by['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            who = "another process"
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
