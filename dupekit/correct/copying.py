"""Puts one file of the dataset at its place in a folder that is being built: copied, cloned or linked.

What is copied gets a temporary name first and is renamed when it is whole and checked, so that whatever carries its
final name is never a part. A link is whole when it is made, and made when what it leads to is checked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from dupekit.errors import DatasetChanged, DupekitError, UsageError
from dupekit.files.write import digest_file

Mode = Literal["copy", "hardlink", "symlink", "reflink"]

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied when either is written
_CHUNK_BYTES = 1 << 20
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# No pipe that took a file's place is waited for.
_READ = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Original(NamedTuple):
    """A file to place, and what is known of it. A tuple, for it is made a million times."""

    file: str
    """Where it lies, in a folder that is no link and below none: of a million files no path is made an object."""
    size: int
    mtime_ns: int
    digest: str
    """SHA-256; empty where it is not known, and then not checked."""


def place(original: Original, target: str, temporary: Path, mode: Mode) -> None:
    """Makes `target` from `original`; a copy by way of `temporary`, on the same file system as the target.

    Raises FileExistsError where something has that name; DatasetChanged where the file is not as described, UsageError where
    it cannot be read or the mode cannot work here, DupekitError where the target cannot be written, as on a full disk.
    """
    if mode in ("hardlink", "symlink"):
        _link(original, target, mode)
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    _copy(original, temporary, clone=mode == "reflink")
    try:
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from None


def is_placed(original: Original, target: str, mode: Mode) -> bool:
    """Whether an earlier call has made `target`, and it still is what it should be.

    A copy or clone is known by its digest, read again: after a loss of power a file may have its name and
    size but not its content. A link is known by where it leads, and what it leads to by its digest.
    """
    made = Path(target)
    if mode in ("hardlink", "symlink"):
        try:
            file = _checked(original)
        except DatasetChanged:
            return False
        if mode == "symlink":
            return made.is_symlink() and str(made.readlink()) == file
        return not made.is_symlink() and made.samefile(file)
    if made.is_symlink() or not made.is_file():
        return False
    return bool(original.digest) and digest_file(made) == original.digest


def _copy(original: Original, temporary: Path, *, clone: bool) -> None:
    file = Path(original.file)
    try:
        with file.open("rb") as source:
            try:
                with temporary.open("wb") as out:
                    if clone:
                        _clone(source, out, file)
                    digest = _read(source, None if clone else out)
            except _ReadError as error:
                raise _unreadable(original.file, error.cause) from None
            except OSError as error:
                raise _unwritable(temporary, error) from None
    except FileNotFoundError:
        raise _changed(original.file) from None
    except OSError as error:
        raise _unreadable(original.file, error) from None
    if original.digest and digest != original.digest:
        raise _changed(original.file)
    shutil.copystat(file, temporary)


class _ReadError(Exception):
    """Tells a source that cannot be read from a target that cannot be written."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause


def _read(source: BinaryIO, out: BinaryIO | None) -> str:
    """The digest of the source; its content goes to `out`, if there is one."""
    found = hashlib.sha256()
    while True:
        try:
            part = source.read(_CHUNK_BYTES)
        except OSError as error:
            raise _ReadError(error) from None
        if not part:
            return found.hexdigest()
        found.update(part)
        if out is not None:
            out.write(part)


def _clone(source: BinaryIO, out: BinaryIO, file: Path) -> None:
    if not sys.platform.startswith("linux"):
        raise UsageError(
            "reflinks can be made on Linux only.", hint="Use --mode copy, or hardlink to save space."
        )
    import fcntl

    try:
        fcntl.ioctl(out.fileno(), _FICLONE, source.fileno())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(
            f"reflinks cannot be made from {file}: {error.strerror}.",
            hint="They need source and destination on one file system that has them, such as Btrfs or XFS;"
            " use --mode copy, or hardlink to save space.",
        ) from None


def _link(original: Original, target: str, mode: Mode) -> None:
    file = _checked(original)
    try:
        if mode == "hardlink":
            os.link(file, target)
        else:
            Path(target).symlink_to(file)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(target, error) from None
        raise UsageError(
            f"{mode}s cannot be made from {file} to {Path(target).parent}: {error.strerror}.",
            hint="Use --mode copy; hard links also need source and destination on one file system.",
        ) from None


def _checked(original: Original) -> str:
    """Where a file lies that is as described, itself no link. Raises DatasetChanged where it is not: size and time can be
    kept while the content changes, so its content is read, where its digest is known."""
    file = original.file
    try:
        if original.digest:
            file, handle = _opened(file)
            try:
                same = _is_as_described(handle, original)
            finally:
                os.close(handle)
        else:
            file = os.path.realpath(file)
            seen = Path(file).stat()
            same = (seen.st_size, seen.st_mtime_ns) == (original.size, original.mtime_ns)
    except FileNotFoundError:
        raise _changed(file) from None
    except OSError as error:
        raise _unreadable(file, error) from None
    if not same:
        raise _changed(file)
    return file


def _opened(file: str) -> tuple[str, int]:
    """A file, or what it leads to where it is a link, and a handle of it."""
    if _NOFOLLOW:
        try:
            return file, os.open(file, _READ)
        except OSError:  # a link; anything else comes again
            pass
    real = os.path.realpath(file)
    return real, os.open(real, _READ)


def _is_as_described(handle: int, original: Original) -> bool:
    seen = os.fstat(handle)
    if (seen.st_size, seen.st_mtime_ns) != (original.size, original.mtime_ns):
        return False
    found, left = hashlib.sha256(), original.size + 1  # so that what has grown meanwhile is something else
    while left:
        wanted = min(left, _CHUNK_BYTES)
        part = os.read(handle, wanted)
        found.update(part)
        left -= len(part)
        if len(part) < wanted:  # its end, known without another read
            break
    return found.hexdigest() == original.digest


def _changed(file: str) -> DatasetChanged:
    return DatasetChanged(
        f"{file} is not what the last scan saw: changed or gone.",
        hint="Run `dupekit scan`, look at what changed, and apply again; where size and time are as they were, only"
        " `dupekit scan --all` sees it. Nothing was written.",
    )


def _unreadable(file: str, error: OSError) -> UsageError:
    return UsageError(
        f"{file} cannot be copied: {error.strerror}.",
        hint="Make it readable or take it out of the dataset, scan, and apply again. Nothing was written.",
    )


def _unwritable(target: Path | str, error: OSError) -> DupekitError:
    return DupekitError(
        f"{target} cannot be written: {error.strerror}.",
        hint="Put that right, such as by making room, and run the same command again: it goes on where it"
        " stopped. Or delete the hidden folder whose name ends in .partial.",
    )
