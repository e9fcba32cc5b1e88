"""Which review tree a command follows that works with or without a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dupekit.cli.output import open_project

if TYPE_CHECKING:
    from dupekit.review.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Followed:
    """A tree that is followed."""

    tree: Path
    manifest: Manifest
    kept_in: Path
    """Where what is seen is kept: with the project, or in the tree."""
    of_project: bool


def what_to_follow(tree: Path | None, project: Path | None, command: str) -> Followed:
    """A tree of the project, or, where there is no project, one that came from elsewhere."""
    from dupekit.errors import NotAProject, TreeUnavailable, UsageError
    from dupekit.review.listing import require_marker
    from dupekit.review.manifest import MARKER
    from dupekit.review.verdicts import tree_manifest

    if tree is not None:
        _require_there(tree)
    try:
        opened = open_project(project)
        export, path = opened.tree(tree)
    except (NotAProject, TreeUnavailable) as error:
        if tree is None and project is None and isinstance(error, NotAProject):
            raise UsageError(
                "Which review tree? It may be left out within a project only.",
                hint=f"Name it: dupekit {command} TREE, the folder with the images. Or name a project with -p.",
            ) from None
        if tree is None or project is not None:
            raise
        path = tree.absolute()
        require_marker(path)
        return Followed(path, tree_manifest(path), path / MARKER, False)
    _require_there(path)
    return Followed(path, opened.manifest_of(export, path), opened.folder_of(export), True)


def _require_there(tree: Path) -> None:
    """Raises TreeUnavailable where nothing lies at this path; what else is wrong with it, others say."""
    from dupekit.errors import TreeUnavailable

    try:
        tree.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise TreeUnavailable(
            f"{tree} does not exist.",
            hint="Check the path and that its share is mounted. Nothing was taken as deleted.",
        ) from None
    except OSError:
        return
