"""Paths: from escaped text to the disk, and places where something new is to be made."""

from __future__ import annotations

import os
from pathlib import Path

from dupekit.errors import UsageError
from dupekit.files.names import escape, unescape


def real_path(root: Path, text: str) -> Path:
    """The path on disk of escaped text relative to `root`."""
    return root / unescape(text)


def absolute(path: Path) -> Path:
    """The absolute path without ".."; links on the way are resolved, one at the very end is kept."""
    full = Path(path).absolute()
    return full.resolve() if full.name in ("", "..") else full.parent.resolve() / full.name


def relative(place: str, folder: Path) -> str:
    """How a place, absolute and escaped, is written relative to a folder, so that both may be moved together."""
    return escape(Path(os.path.relpath(absolute(Path(unescape(place))), folder.resolve())).as_posix())


def placed(text: str, folder: Path) -> str:
    """Where that lies which is written relative to a folder: absolute, escaped. What is absolute stays as it is."""
    path = unescape(text)
    return text if Path(path).is_absolute() else escape(os.path.normpath(folder.resolve() / path))


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
