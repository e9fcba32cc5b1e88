"""What a review tree holds besides files to judge: its folders, and what strayed into its marker folder."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.names import escape, is_clutter, is_trash, same_name_key
from dupekit.review.manifest import MARKER

_OWN = frozenset(
    {"manifest.json", "before.txt", "after.txt", "events.jsonl", "watch.lock", "watch.lock.holder"}
)


@dataclass(frozen=True, slots=True)
class Survey:
    folders: frozenset[str]
    """`same_name_key` of the path of every folder, empty ones too, the marker's and trash folders left out."""
    hidden: list[str]
    """Files in the marker folder that dupekit does not put there, escaped, relative to the tree."""


def survey(tree: Path) -> Survey:
    """Looks at a tree that was just listed. Raises TreeUnavailable where it went away, or cannot be read."""
    folders: set[str] = set()
    hidden: list[str] = []
    todo = [tree]
    while todo:
        folder = todo.pop()
        inside = Path(MARKER) in (folder.relative_to(tree), *folder.relative_to(tree).parents)
        for entry in _entries(folder, root=folder == tree):
            path = Path(entry.path).relative_to(tree)
            if entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
                if not (inside or path == Path(MARKER)):
                    folders.add(same_name_key(escape(path.as_posix())))
            elif inside and not (len(path.parts) == 2 and entry.name in _OWN):
                hidden.append(escape(path.as_posix()))
    if not (tree / MARKER).is_dir():
        raise TreeUnavailable(f"{tree} went away while it was read.", hint="Mount it and try again.")
    return Survey(frozenset(folders), hidden)


def _entries(folder: Path, *, root: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not (is_clutter(entry.name) or is_trash(entry.name))]
    except OSError as error:
        if not root and error.errno in (errno.ENOENT, errno.ENOTDIR):  # deleted since: it is gone
            return []
        raise TreeUnavailable(
            f"{folder} cannot be read: {error.strerror}.", hint="Nothing was recorded. Try again."
        ) from None
