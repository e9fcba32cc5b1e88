"""What lies in a review tree now: one walk, which never takes an unreadable tree for an emptied one."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dupekit.errors import TreeUnavailable
from dupekit.files.names import escape, is_clutter, is_trash, same_name_key
from dupekit.review.manifest import BESIDE, MARKER
from dupekit.review.reference_index import FILE_NAME, FOLDER, INDEX
from dupekit.system.mounts import is_network

_ATTEMPTS, _PAUSE_S = 21, 0.25

_NAMES = r"(manifest\.json|before\.txt|after\.txt|events\.jsonl|watch\.lock|watch\.lock\.holder)"
_OWN = re.compile(
    rf"{re.escape(MARKER)}/({_NAMES}|\.{_NAMES}\..+\.partial|{FOLDER}/({FILE_NAME}|{re.escape(INDEX)}))"
)
"""What dupekit puts in the marker folder."""

_BESIDE = frozenset(map(same_name_key, BESIDE))
"""What it puts beside the folders."""


class Entry(NamedTuple):
    """What a listing says of a file, without reading it."""

    size: int
    """In bytes."""
    modified_ns: int
    changed_ns: int
    """Of the last change of any kind: a file that took the place of an equally long and equally old one, as from one
    archive, differs in this alone."""
    folder: int = 0
    """Which folder it lies in, by its inode: of folders that changed their names it is the only thing that tells.
    0 on network file systems, some of which give a folder another number whenever they are asked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All that one walk over a review tree found."""

    files: Mapping[str, Entry]
    """Escaped path -> what lies there; without trash, clutter, what dupekit puts in the marker folder, and its own page and
    list at the top."""
    folders: frozenset[str]
    """`same_name_key` of the path of every folder, empty ones too; likewise."""


class Vanished(TreeUnavailable):
    """What was listed a moment ago is not there: a file manager is at work, or it never could be opened."""


_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


def unreadable(error: OSError, message: str, *, hint: str) -> TreeUnavailable:
    kind = Vanished if error.errno in _GONE else TreeUnavailable
    return kind(message, hint=f"Nothing was taken as deleted. {hint}")


def require_marker(tree: Path) -> None:
    """Raises TreeUnavailable where this is no review tree, or none that can be reached."""
    try:
        marker = tree / MARKER
        why = "" if marker.is_dir() else f"it has no folder {MARKER}"
        if marker.is_symlink():  # whose files are not the tree's
            why = f"its folder {MARKER} is a link"
    except OSError as error:  # as of a share that is mounted, but whose server does not answer
        why = str(error.strerror)
    if why:
        raise TreeUnavailable(
            f"{tree} is not available as a review tree: {why}.",
            hint="Check the path and that its share is mounted. Nothing was taken as deleted.",
        )


def list_tree(tree: Path) -> Listing:
    """All of a review tree but clutter of the system, trash folders, and what dupekit put there to be read.

    Raises TreeUnavailable where the marker is missing, any folder cannot be read, or a link stands for a file or
    a folder: that must never look like files deleted.
    """
    require_marker(tree)
    numbered = not is_network(tree)
    files: dict[str, Entry] = {}
    folders: set[str] = set()
    todo = [(str(tree), "", 0)]
    device: int | None = None
    while todo:
        folder, below, number = todo.pop()
        in_marker = below.startswith(f"{MARKER}/")
        try:
            found = _device(folder)
            if found != (device := found if device is None else device):
                raise _mounted_over(below.rstrip("/"))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_clutter(entry.name) or is_trash(entry.name):
                        continue
                    path = below + escape(entry.name)
                    if entry.is_symlink() and not in_marker:
                        raise _linked(path)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append((entry.path, f"{path}/", entry.inode() if numbered else 0))
                        if not (in_marker or path == MARKER):
                            folders.add(same_name_key(path))
                    elif (
                        same_name_key(path) not in _BESIDE
                        and not (in_marker and _OWN.fullmatch(path))
                        and entry.is_file(follow_symlinks=False)
                    ):
                        stat = entry.stat(follow_symlinks=False)
                        files[path] = Entry(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, number)
        except OSError as error:
            raise unreadable(
                error,
                f"The folder {folder} of the review tree cannot be read: {error.strerror}.",
                hint="Make it readable and try again.",
            ) from None
    require_marker(tree)  # the share may have gone away while we read
    return Listing(files, frozenset(folders))


def _device(folder: str) -> int:
    """Which file system a folder lies on."""
    return os.stat(folder).st_dev  # noqa: PTH116 - of many


def _mounted_over(path: str) -> TreeUnavailable:
    return TreeUnavailable(
        f"{path} in the review tree lies on another file system than the tree: something is mounted over it.",
        hint="Nothing was taken as deleted. Unmount it, and try again.",
    )


def _linked(path: str) -> TreeUnavailable:
    return TreeUnavailable(
        f"{path} in the review tree is a link, and what it leads to is not part of the tree.",
        hint="Nothing was taken as deleted. Put the file or folder itself there, or remove the link, and try again.",
    )


def settled_listing(tree: Path) -> Listing:
    """A listing that two readings in a row agree on.

    Raises TreeUnavailable where the tree never rests, and where something in it cannot be read: at once, or, if
    it may have been deleted after its folder was listed, when it is still listed in the last reading.
    """
    before: Listing | None = None
    vanished: Vanished | None = None
    for attempt in range(_ATTEMPTS):
        if attempt > 1:
            time.sleep(_PAUSE_S)
        try:
            after, vanished = list_tree(tree), None
        except Vanished as error:
            before, vanished = None, error
            continue
        if after == before:
            return after
        before = after
    if vanished:
        raise TreeUnavailable(vanished.message, hint=vanished.hint)
    raise TreeUnavailable(
        f"{tree} keeps changing while it is read.",
        hint="Wait until the file manager has finished, then try again.",
    )
