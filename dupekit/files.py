"""Digests, atomic writes, and names and paths that survive every file system.

Inside dupekit, and in every file it writes, a path is *escaped text*: relative, "/" between parts, and
whatever would break a line, a terminal or UTF-8 written as a backslash escape. `escape` and `unescape`
are exact inverses, so any file name can be stored, printed, sorted and found again.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import hashlib
import json
import os
import platform
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from dupekit.errors import LockedError, UsageError

NAME_MAX_BYTES = 255
"""The longest name that ext4, XFS, Btrfs and ZFS take; NTFS, APFS and SMB take at least 255 characters."""

# Backslash, control characters, Unicode's line and paragraph separators, and lone surrogates: Python
# writes an undecodable byte 0xNN of a name as the surrogate U+DCNN.
_UNSAFE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|([\\nrt]))")
_LONG = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}

# Characters and names that Windows, and so most network shares, refuses.
_UNPORTABLE = re.compile('[<>:"/\\\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")

_CLUTTER = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "@eadir", "__macosx", ".directory"})
# Also the names that NFS and FUSE give a file that is deleted while some program still has it open.
_TRASH = re.compile(
    r"(?i)\.trash(-\d+|es)?|\$recycle\.bin|recycler|[#@]recycle|\.nfs[0-9a-f]{16,}|\.fuse_hidden[0-9a-f]{16,}"
)


def now() -> str:
    """The time as it stands in the ledger and in files: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def user() -> str:
    """Who is at work, as it stands in the ledger: USER@COMPUTER."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # no such user, as in some containers
        return platform.node()


def escape(name: str) -> str:
    """Writes a file name or path, as Python gives it, as escaped text."""

    def one(match: re.Match[str]) -> str:
        char = match.group()
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        return _SHORT.get(char) or f"\\u{code:04x}"

    return _UNSAFE.sub(one, name)


def unescape(text: str) -> str:
    """The file name or path that `escape` wrote so."""

    def one(match: re.Match[str]) -> str:
        byte, code, short = match.groups()
        if byte:
            return chr(0xDC00 + int(byte, 16))
        return chr(int(code, 16)) if code else _LONG[short]

    return _ESCAPED.sub(one, text)


def real_path(root: Path, text: str) -> Path:
    """The path on disk of escaped text relative to `root`."""
    return root / unescape(text)


def absolute(path: Path) -> Path:
    """The absolute path without ".."; links on the way are resolved, one at the very end is kept."""
    full = Path(path).absolute()
    return full.resolve() if full.name in ("", "..") else full.parent.resolve() / full.name


def new_place(path: Path) -> Path:
    """`absolute`, for something that is to be made there.

    Raises UsageError where a link on the way leads nowhere: the folders that it names would be made, wherever that is.
    """
    for folder in Path(path).absolute().parents:
        if folder.is_symlink() and not folder.exists():
            raise UsageError(
                f"{path} lies below a link that leads nowhere: {folder}.",
                hint="Name a place whose folders are there, or are to be made; a link must lead to a folder.",
            )
    return absolute(path)


def make_parent(path: Path) -> None:
    """Makes the folders above `path`. Raises UsageError where they cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(
            f"{path.parent} is no folder, so nothing can be written there.",
            hint="Name a destination in a folder; a link must lead to one.",
        ) from None


def sort_key(text: str) -> bytes:
    """Sorts escaped paths bytewise, as `LC_ALL=C sort` does."""
    return text.encode()


def same_name_key(name: str) -> str:
    """Equal for names that some file system takes for the same: other case, or other Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_clutter(name: str) -> bool:
    """Whether an operating system or a NAS put this file or folder there by itself."""
    return name.casefold() in _CLUTTER or name.startswith("._")


def is_trash(name: str) -> bool:
    """Whether this is the folder in which a desktop or a NAS keeps deleted files, or what is left of one."""
    return _TRASH.fullmatch(name) is not None


def portable_name(name: str) -> str:
    """A file name like `name` that every common file system takes, not yet shortened."""
    safe = _UNPORTABLE.sub("_", name)
    # Windows drops trailing dots and spaces; a leading "-" reads as an option in a shell.
    safe = safe.rstrip(". ") or "_"
    if safe.startswith("-"):
        safe = "_" + safe[1:]
    return "_" + safe if _RESERVED.match(safe) else safe


def is_class_name(name: str) -> bool:
    """Whether a class can have this name on every platform, and a scan will see its folder."""
    return not name.startswith(".") and portable_name(name) == name and len(_encoded(name)) <= NAME_MAX_BYTES


def free_name(name: str, taken: Set[str]) -> str:
    """A name no longer than `NAME_MAX_BYTES` whose `same_name_key` is not in `taken`.

    Shortened in the stem and numbered " (2)", " (3)" before the extension where that is needed.
    """
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    if len(_encoded(suffix)) > 16:  # not an extension
        stem, suffix = name, ""
    for number in range(1, len(taken) + 2):
        tail = suffix if number == 1 else f" ({number}){suffix}"
        candidate = _shortened(stem, NAME_MAX_BYTES - len(_encoded(tail))) + tail
        if same_name_key(candidate) not in taken:
            return candidate
    raise AssertionError("more names taken than counted")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _shortened(stem: str, limit: int) -> str:
    while len(_encoded(stem)) > limit:
        stem = stem[:-1]
    return stem


def digest_file(path: Path) -> str:
    """SHA-256 of the content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of `path` when the block ends without an error.

    A reader sees the old content or the new, never a part; after a crash or with a full disk the old is
    still there. The temporary file stands in the same folder as ".NAME.*.partial".
    """
    with _naming(path):
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name[:100]}.", suffix=".partial", dir=path.parent
        )
    try:
        with _naming(path):
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


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Gives an error of the system the file's name: a full disk says none, others that of the temporary file."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None or str(error.filename).endswith(".partial")
        if unnamed and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_text(path: Path, text: str) -> None:
    """Replaces the file's content by UTF-8 text, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while the block runs; the system frees it when the process dies, however it dies.

    Raises LockedError at once where another process holds it, naming the holder.
    """
    holder = path.with_name(f"{path.name}.holder")
    if not path.parent.is_dir():  # FileLock would make it, and with it, perhaps, a review tree's marker
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    # Without the system's locks there would be no promise; and looking for them, filelock 4.3 fails on smbnetfs.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            by = json.loads(holder.read_text(encoding="utf-8"))
            who = f"`dupekit {by['what']}`, process {by['pid']} on {by['host']}, since {by['since']}"
        except (OSError, ValueError, KeyError):
            who = "another process"
        raise LockedError(
            f"{path.parent} is in use by {who}.", hint="Wait until it has finished, or end it there."
        ) from None
    try:
        entry = {"what": what, "pid": os.getpid(), "host": platform.node(), "since": now()}
        with _naming(holder):
            holder.write_text(json.dumps(entry), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):  # on a share that has gone away; the system frees the lock
            holder.unlink(missing_ok=True)
            lock.release()


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


def write_lines(path: Path, paths: list[str]) -> None:
    """A listing such as before.txt: one escaped path a line, sorted bytewise."""
    with atomic_write(path) as file:
        file.writelines(sorted(f"{p}\n".encode() for p in paths))  # no character sorts before the newline


def read_lines(path: Path) -> list[str]:
    """The paths of a listing. Splits at newlines only: a name may hold any other separator."""
    return path.read_bytes().decode().split("\n")[:-1]


def _umask() -> int:
    # Read without setting it, which would be seen by other threads.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
