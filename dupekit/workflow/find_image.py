"""Which image somebody means: by its path in the dataset, its file, or its copy in a review tree."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path, PurePosixPath

from dupekit.errors import TreeUnavailable, UsageError
from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute
from dupekit.files.write import digest_file
from dupekit.ledger import exports, images, one_image
from dupekit.ledger.one_image import ImageRow
from dupekit.review.manifest import MARKER, ExportedFile, export_key
from dupekit.review.tree_paths import name_key
from dupekit.workflow.exports import manifest_of
from dupekit.workflow.session import Session

_LOOKED_AT, _NAMED = 5000, 3
"""So many names are compared with one that is unknown, and so many are named at most."""


def find_image(session: Session, named: str) -> ImageRow:
    """The image that a path leads to: relative to the dataset, escaped or as it stands on disk; a file in the dataset; or one in
    a review tree of the project, also where it was moved in the tree, and also by its path relative to the tree.

    Raises UsageError where it is unknown, with names that are near.
    """
    text = str(PurePosixPath(named))
    paths = _paths(text)
    for path in paths:
        if found := one_image.find(session.ledger, path):
            return found
    place = absolute(Path(named))
    for where in dict.fromkeys((place, absolute(Path(unescape(named))))):
        with contextlib.suppress(
            OSError, ValueError
        ):  # what cannot be looked at, as too long a name, leads nowhere
            if found := _in_dataset(session, where) or _in_tree(session, where):
                return found
    for path in paths:
        number = one_image.in_trees(session.ledger, path)
        if number is not None and (found := one_image.of_number(session.ledger, number)):
            return found
    raise _unknown(session, named, place)


def _paths(text: str) -> list[str]:
    """What the ledger may hold for it: as it was printed, escaped, or as it stands on disk."""
    return list(dict.fromkeys((escape(unescape(text)), escape(text))))


def _in_dataset(session: Session, place: Path) -> ImageRow | None:
    path = _relative(session, place)
    return one_image.find(session.ledger, path) if path else None


def _relative(session: Session, place: Path) -> str | None:
    """An absolute path as one in the dataset, escaped; None where it leads elsewhere."""
    root = session.dataset.absolute()
    for base in (root, root.resolve()):
        if place.is_relative_to(base):
            return escape(place.relative_to(base).as_posix())
    return None


def _in_tree(session: Session, place: Path) -> ImageRow | None:
    """By what the project knows of the tree that a file lies in."""
    tree = next((folder for folder in place.parents if (folder / MARKER).is_dir()), None)
    export = exports.by_key(session.ledger, export_key(tree) or "") if tree else None
    if tree is None or export is None:
        return None
    try:
        files = manifest_of(session, export, tree).files
    except TreeUnavailable:
        return None
    file = _exported(files, tree, place)
    return one_image.find(session.ledger, file.original) if file else None


def _exported(files: list[ExportedFile], tree: Path, place: Path) -> ExportedFile | None:
    """Which file of a tree lies at a place: by its content, for it may have been moved; where nothing lies there, by its path."""
    path = escape(place.relative_to(tree).as_posix())
    if place.is_file() and not place.is_symlink():
        content = digest_file(place)
        same = [file for file in files if file.content == content]
        nearest = sorted(same, key=lambda file: (file.path != path, name_key(file.path) != name_key(path)))
        return nearest[0] if nearest else None
    return next((file for file in files if file.path == path), None)


def _unknown(session: Session, named: str, place: Path) -> UsageError:
    near = _near(session, _relative(session, place) or escape(str(PurePosixPath(named))))
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"The project knows no image {named}.",
        hint=f"{meant}Give a path as `dupekit flag` prints it, relative to the dataset, or a file in the dataset or in a review"
        " tree.",
    )


def _near(session: Session, path: str) -> list[str]:
    """Known paths that somebody may have meant: the same name elsewhere, else a like one in the same class."""
    label, _, rest = path.partition("/")
    if found := one_image.with_name(session.ledger, path.rpartition("/")[2], limit=_NAMED):
        return found
    names = images.class_names(session.ledger)
    near = [label] if label in names else difflib.get_close_matches(label, names, 1, 0.7)
    if not rest or not near:
        return []
    known = one_image.in_class(session.ledger, near[0], limit=_LOOKED_AT)
    start = len(near[0]) + 1
    found = difflib.get_close_matches(rest, [path[start:] for path in known], _NAMED, 0.8)
    return [f"{near[0]}/{name}" for name in found]
