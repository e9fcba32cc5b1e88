"""Puts one file of the dataset at its place in a folder that is being built: copied, cloned or linked.

A file gets a temporary name first and is renamed when it is whole and checked, so that whatever carries its
final name is never a part.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from dupekit.errors import DatasetChanged, DupekitError, UsageError
from dupekit.files.write import digest_file

Mode = Literal["copy", "hardlink", "symlink", "reflink"]

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied when either is written
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Original:
    """A file to place, and what is known of it."""

    file: Path
    size: int
    mtime_ns: int
    digest: str
    """SHA-256; empty where it is not known, and then not checked."""


def place(original: Original, target: Path, temporary: Path, mode: Mode) -> None:
    """Makes `target` from `original` by way of `temporary`, on the same file system as the target.

    Raises DatasetChanged where the file is not as described, UsageError where it cannot be read or the
    mode cannot work here, DupekitError where the target cannot be written, as on a full disk.
    """
    temporary.unlink(missing_ok=True)  # of a process that was killed
    if mode in ("hardlink", "symlink"):
        _link(original, temporary, mode)
    else:
        _copy(original, temporary, clone=mode == "reflink")
    try:
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from None


def is_placed(original: Original, target: Path, mode: Mode) -> bool:
    """Whether an earlier call has made `target`, and it still is what it should be.

    A copy or clone is known by its digest, read again: after a loss of power a file may have its name and
    size but not its content. A link is known by where it leads, and what it leads to by its digest.
    """
    if mode in ("hardlink", "symlink"):
        if not original.file.is_file() or _stamp(original.file) != (original.size, original.mtime_ns):
            return False
        if not _holds(original.file, original.digest):
            return False
        if mode == "symlink":
            return target.is_symlink() and target.readlink() == original.file.resolve()
        return not target.is_symlink() and target.samefile(original.file)
    if target.is_symlink() or not target.is_file():
        return False
    return bool(original.digest) and digest_file(target) == original.digest


def _copy(original: Original, temporary: Path, *, clone: bool) -> None:
    file = original.file
    try:
        with file.open("rb") as source:
            try:
                with temporary.open("wb") as out:
                    if clone:
                        _clone(source, out, file)
                    digest = _read(source, None if clone else out)
            except _ReadError as error:
                raise _unreadable(file, error.cause) from None
            except OSError as error:
                raise _unwritable(temporary, error) from None
    except FileNotFoundError:
        raise _changed(file) from None
    except OSError as error:
        raise _unreadable(file, error) from None
    if original.digest and digest != original.digest:
        raise _changed(file)
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


def _link(original: Original, temporary: Path, mode: Mode) -> None:
    file = original.file
    try:
        stamp = _stamp(file)
    except FileNotFoundError:
        raise _changed(file) from None
    except OSError as error:
        raise _unreadable(file, error) from None
    if stamp != (original.size, original.mtime_ns) or not _holds(file, original.digest):
        raise _changed(file)
    try:
        if mode == "hardlink":
            os.link(file.resolve(), temporary)
        else:
            temporary.symlink_to(file.resolve())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(temporary, error) from None
        raise UsageError(
            f"{mode}s cannot be made from {file} to {temporary.parent}: {error.strerror}.",
            hint="Use --mode copy; hard links also need source and destination on one file system.",
        ) from None


def _holds(file: Path, digest: str) -> bool:
    """Whether a file has this content: size and time can be kept while it changes. True where none is known."""
    try:
        return not digest or digest_file(file) == digest
    except OSError as error:
        raise _unreadable(file, error) from None


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _changed(file: Path) -> DatasetChanged:
    return DatasetChanged(
        f"{file} is not what the last scan saw: changed or gone.",
        hint="Run `dupekit scan`, look at what changed, and apply again; where size and time are as they were, only"
        " `dupekit scan --all` sees it. Nothing was written.",
    )


def _unreadable(file: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{file} cannot be copied: {error.strerror}.",
        hint="Make it readable or take it out of the dataset, scan, and apply again. Nothing was written.",
    )


def _unwritable(target: Path, error: OSError) -> DupekitError:
    return DupekitError(
        f"{target} cannot be written: {error.strerror}.",
        hint="Put that right, such as by making room, and run the same command again: it goes on where it"
        " stopped. Or delete the hidden folder whose name ends in .partial.",
    )
