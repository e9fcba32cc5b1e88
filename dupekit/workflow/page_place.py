"""Where a page may be written, and its writing: not into the dataset or a review tree, and over nothing that dupekit did not write."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from dupekit.errors import UsageError
from dupekit.files.paths import make_parent, new_place
from dupekit.files.regular import open_regular
from dupekit.files.write import atomic_write
from dupekit.pictures.templates import MARK
from dupekit.review.manifest import refuse_inside_tree
from dupekit.workflow.session import Session

_Written = TypeVar("_Written")


def page_place(session: Session, out: Path | None, *, default: Path) -> Path:
    """The file to write, its folder made. Raises UsageError where nothing may be written there."""
    if out is None:
        return default
    file = place_for(session, out, such_as=default.name)
    if file.exists() or file.is_symlink():
        _refuse_foreign(file)
    make_parent(file)
    return file


def place_for(session: Session, out: Path, *, such_as: str) -> Path:
    """Where a file may be written that somebody names. Raises UsageError for a folder, and in the dataset or a review tree."""
    file = new_place(out)
    if file.is_dir():
        raise UsageError(f"{out} is a folder.", hint=f"Name a file, such as {out / such_as}.")
    if file.resolve().is_relative_to(session.dataset.resolve()):
        raise UsageError(
            f"{out} lies inside the dataset, which dupekit never writes to.", hint="Name a file elsewhere."
        )
    refuse_inside_tree(file)
    return file


def write_page(file: Path, write: Callable[[BinaryIO], _Written]) -> _Written:
    """Writes a page, whole or not at all. It is made elsewhere first: pages take no lock, and whoever has it may clear away what
    seems left of a file that was being written."""
    with tempfile.TemporaryFile() as made:
        written = write(made)
        made.seek(0)
        with atomic_write(file) as out:
            shutil.copyfileobj(made, out)
    return written


def refuse_without_pictures(dataset: Path, *, pictures: int, unreadable: int) -> None:
    """Raises UsageError where none of a page's pictures could be made, before it takes the place of an earlier one."""
    if 0 < pictures == unreadable:
        raise UsageError(
            f"None of {pictures:,} images can be read in {dataset}, so no page was written.",
            hint="Is the dataset still there, and its share mounted?",
        )


def _refuse_foreign(file: Path) -> None:
    try:
        with open_regular(file, "rb") as opened:
            ours = opened.read(len(MARK)) == MARK
    except OSError:
        ours = False
    if not ours:
        raise UsageError(
            f"{file} exists already, and is no page of dupekit.", hint="Name another file, or move it away."
        )
