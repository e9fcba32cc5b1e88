"""Opens only what is a file itself: never through a link, and never a pipe or device, which could change any other file
or wait for ever. For folders that others can write to, such as a review tree's."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Literal

MAX_BYTES = 2 << 30
"""Of a file that is read into memory: no list or manifest of ours is so long, and a file with holes costs nothing."""

_FLAGS = {
    "rb": os.O_RDONLY,
    "xb": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a+b": os.O_RDWR | os.O_CREAT | os.O_APPEND,
}
# Windows has no such flags, and its links are made by administrators only.
_PLAINLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path, mode: Literal["rb", "xb", "a+b"]) -> IO[bytes]:
    """As `open`, of a regular file, or for "xb" of none that is there yet. Raises OSError for anything else."""
    try:
        handle = os.open(path, _FLAGS[mode] | _PLAINLY, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():  # the system's words are of too many links
            raise OSError(errno.ELOOP, "it is a link", str(path)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return os.fdopen(handle, mode.replace("x", "w"))
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path) -> bytes:
    """The content of a regular file. Raises OSError for anything else, and for more than MAX_BYTES."""
    with open_regular(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES >> 30} GiB", str(path))
        return file.read()


def require_regular(path: Path) -> None:
    """Raises OSError where something lies here that is no regular file itself."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a link or no regular file", str(path))
