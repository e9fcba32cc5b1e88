"""Files below a folder that others can write to, such as a review tree: reached, read and moved without following a link.

Where the system has it, every folder on the way is opened from the one above, so that nothing that takes its place
meanwhile leads elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dupekit.files.names import unescape

_BY_HANDLE = os.open in os.supports_dir_fd
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_DIRECTORY", 0)
_FILE = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_REPARSE_POINT = 0x400
"""Windows' junctions are no symbolic links to Python; all of them have this attribute."""

_NO_REPLACE = {"renameat2": 1, "renameatx_np": 4}
"""Linux' and macOS' ways of moving a file only where nothing lies, and the flag that asks for it."""
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EOPNOTSUPP}
"""What systems, and file systems of a network above all, answer that know no such way."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that was reached without following a link."""

    path: Path
    handle: int | None
    """None on Windows, where a name can only be looked up from the top."""

    def name(self, name: str) -> str:
        """What the system is asked for, together with `handle`."""
        return name if self.handle is not None else str(self.path / name)

    def regular(self, name: str) -> os.stat_result:
        """Of a file in it. Raises OSError where none lies there, or a link or anything else does."""
        seen = os.stat(self.name(name), dir_fd=self.handle, follow_symlinks=False)
        if not stat.S_ISREG(seen.st_mode) or _is_link(seen):
            raise OSError(errno.EINVAL, "it is a link or no file", str(self.path / name))
        return seen


@contextlib.contextmanager
def entered(root: Path, folder: str, *, make: bool = False) -> Iterator[Folder]:
    """The folder at an escaped path below `root` ("" for itself); `make`: made where it is not there.

    Raises OSError where it is not there, cannot be made, or where a link or a file lies on the way.
    """
    parts = [real_name(part) for part in folder.split("/")] if folder else []
    with ExitStack() as opened:
        here = Folder(root, _opened(opened, str(root), None, _NOFOLLOW) if _BY_HANDLE else None)
        for part in parts:
            here = _below(opened, here, part, make=make)
        yield here


def real_name(name: str) -> str:
    """The name of one file or folder, of escaped text. Raises OSError where it would be a path, or can be no name at all:
    escaped text that others wrote may hold anything."""
    real = unescape(name)
    with contextlib.suppress(UnicodeError):
        os.fsencode(real)
        leads = "/" in real or os.sep in real or "\0" in real or os.path.splitdrive(real)[0]
        if real not in ("", ".", "..") and not leads:
            return real
    raise OSError(errno.EINVAL, "it is no path below", name)


def _below(opened: ExitStack, above: Folder, part: str, *, make: bool) -> Folder:
    path = above.path / part
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(above.name(part), dir_fd=above.handle)
    seen = os.stat(above.name(part), dir_fd=above.handle, follow_symlinks=False)
    if _is_link(seen):
        raise OSError(errno.ELOOP, "it is a link", str(path))
    if not stat.S_ISDIR(seen.st_mode):
        raise OSError(errno.ENOTDIR, "it is no folder", str(path))
    return Folder(path, None if above.handle is None else _opened(opened, part, above.handle))


def _opened(opened: ExitStack, name: str, above: int | None, but_for: int = 0) -> int:
    handle = os.open(name, _FOLDER & ~but_for, dir_fd=above)
    opened.callback(os.close, handle)
    return handle


def _is_link(seen: os.stat_result) -> bool:
    return stat.S_ISLNK(seen.st_mode) or bool(getattr(seen, "st_file_attributes", 0) & _REPARSE_POINT)


def read_inside(root: Path, path: str, *, at_most: int) -> bytes:
    """The content of a file at an escaped path below `root`. Raises OSError as `entered`, and for a file of more bytes."""
    folder, _, name = path.rpartition("/")
    with entered(root, folder) as here:
        real = real_name(name)
        if here.regular(real).st_size > at_most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        with open(
            here.name(real), "rb", opener=lambda name, _: os.open(name, _FILE, dir_fd=here.handle)
        ) as file:
            return file.read(at_most)


def move(source: Folder, name: str, target: Folder, new: str) -> None:
    """Moves a regular file, never over another: raises FileExistsError where something has that name already.

    At no time is the file without a name. Raises OSError where it cannot be moved; then it is where it was.
    """
    source.regular(name)
    if sys.platform == "win32":  # which never replaces
        Path(source.name(name)).rename(target.name(new))
        return
    if _moved_by_system(source, name, target, new) or _moved_by_links(source, name, target, new):
        return
    # A file system without either: between look and move another program may use the name, but not another of ours,
    # which all number what they find taken.
    try:
        os.stat(target.name(new), dir_fd=target.handle, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source.name(name), target.name(new), src_dir_fd=source.handle, dst_dir_fd=target.handle)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target.path / new))


def _moved_by_system(source: Folder, name: str, target: Folder, new: str) -> bool:
    """False where the system has no way to move a file only where nothing lies."""
    call, flag = _system_call()
    if call is None:
        return False
    if not call(source.handle, os.fsencode(name), target.handle, os.fsencode(new), flag):
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source.path / name), None, str(target.path / new))


@functools.cache
def _system_call() -> tuple[Any, int]:
    library = ctypes.CDLL(None, use_errno=True)
    for name, flag in _NO_REPLACE.items():
        if (call := getattr(library, name, None)) is not None:
            call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
            return call, flag
    return None, 0


def _moved_by_links(source: Folder, name: str, target: Folder, new: str) -> bool:
    """False where the file system has no second names for a file."""
    try:
        os.link(
            source.name(name),
            target.name(new),
            src_dir_fd=source.handle,
            dst_dir_fd=target.handle,
            follow_symlinks=False,
        )
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
            raise
        return False
    try:
        os.unlink(source.name(name), dir_fd=source.handle)
    except OSError:
        # Somebody was quicker, and the file has another name there: this one goes, unless it is the last.
        if os.stat(target.name(new), dir_fd=target.handle, follow_symlinks=False).st_nlink > 1:
            os.unlink(target.name(new), dir_fd=target.handle)
            raise
    return True
