"""Where a page may be written: not into the dataset or a review tree, and over nothing that dupekit did not write."""

from __future__ import annotations

from pathlib import Path

from dupekit.errors import UsageError
from dupekit.files.paths import make_parent, new_place
from dupekit.files.regular import open_regular
from dupekit.pictures.report import MARK
from dupekit.review.manifest import refuse_inside_tree
from dupekit.workflow.session import Session


def page_place(session: Session, out: Path | None, *, default: Path) -> Path:
    """The file to write, its folder made. Raises UsageError where nothing may be written there."""
    if out is None:
        return default
    file = new_place(out)
    if file.is_dir():
        raise UsageError(f"{out} is a folder.", hint=f"Name a file, such as {out / default.name}.")
    if file.resolve().is_relative_to(session.dataset.resolve()):
        raise UsageError(
            f"{out} lies inside the dataset, which dupekit never writes to.", hint="Name a file elsewhere."
        )
    refuse_inside_tree(file)
    if file.exists() or file.is_symlink():
        _refuse_foreign(file)
    make_parent(file)
    return file


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
