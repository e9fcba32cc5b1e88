"""Writing: whole or not at all; and the digests and listings of what was written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dupekit.files.regular import read_regular

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.partial")
"""What `atomic_write` calls a file until it is whole."""


def digest_file(path: Path) -> str:
    """SHA-256 of the content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path, *, by_way_of: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of `path` when the block ends without an error.

    A reader sees the old content or the new, never a part; after a crash or with a full disk the old is
    still there. The temporary file is called ".NAME.*.partial" and stands in the same folder, or in another one on the same
    file system: where only one process writes, and so may clear away what it left when it was killed.
    """
    with naming(path):
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name[:100]}.", suffix=".partial", dir=by_way_of or path.parent
        )
    try:
        with naming(path):
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner reads
            Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def clear_partials(folder: Path, *, older_than_s: float = 0) -> None:
    """Removes what writers left in a folder that were killed: for who knows that none is at work there, or that none
    takes as long as this."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            if ours and time.time() - entry.stat().st_mtime >= older_than_s:
                Path(entry.path).unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an error of the system the file's name: a full disk says none, others that of the temporary file."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None or str(error.filename).endswith(".partial")
        if unnamed and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_text(path: Path, text: str, *, by_way_of: Path | None = None) -> None:
    """Replaces the file's content by UTF-8 text. As `atomic_write`."""
    with atomic_write(path, by_way_of=by_way_of) as file:
        file.write(text.encode())


def sync_folder(folder: Path) -> None:
    """Makes renames in this folder durable, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse this; the rename itself has happened
    finally:
        os.close(handle)


def write_lines(path: Path, paths: list[str], *, by_way_of: Path | None = None) -> None:
    """A listing such as before.txt: one escaped path a line, sorted bytewise. As `atomic_write`."""
    with atomic_write(path, by_way_of=by_way_of) as file:
        file.writelines(sorted(f"{p}\n".encode() for p in paths))  # no character sorts before the newline


def read_lines(path: Path) -> list[str]:
    """The paths of a listing. Splits at newlines only: a name may hold any other separator."""
    return read_regular(path).decode().split("\n")[:-1]


def _umask() -> int:
    # Read without setting it, which would be seen by other threads.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
