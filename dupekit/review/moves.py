"""A decision on an image -> where its file goes in the review tree, and the move itself.

The moves are those of a person with a file manager: to `_right`, `_done`, another class, `_expunge`, `_unsure`. So whoever
judges the tree finds by them what was decided.
"""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dupekit.errors import MoveRefused
from dupekit.files.inside import entered, move, read_inside, real_name
from dupekit.files.names import escape, free_name, is_class_name, portable_name, same_name_key, unescape
from dupekit.review.manifest import (
    BESIDE,
    DONE,
    EXPUNGE,
    MARKER,
    RIGHT,
    SPECIAL,
    UNSURE,
    ExportedFile,
    Manifest,
)
from dupekit.review.match import Index
from dupekit.review.verdicts import FileVerdict, Verdict, verdict_at

FILE_MAX_BYTES = 200_000_000
"""A larger file is not read: 50 million pixels take no more, however they are stored."""
_ATTEMPTS = 1000
"""So many names are tried where all are taken."""


class Decision(StrEnum):
    """What a person decides on an image."""

    RIGHT = "right"
    SUGGESTED = "suggested"
    CLASS = "class"
    EXPUNGE = "expunge"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a decision asks for."""

    verdict: Verdict
    label: str
    """Escaped: the one it shall have."""
    path: str
    """In the tree, escaped: where the file goes if nothing lies there."""


class Moves:
    """Moves files of one review tree."""

    def __init__(self, tree: Path, manifest: Manifest, index: Index) -> None:
        self._tree, self._index, self._places = tree, index, index.places
        self._folders = {label: folder for folder, label in manifest.folders.items()}
        self._reserved = {same_name_key(file.path) for file in manifest.files}
        self._copies = Counter(file.content for file in manifest.files)

    def wanted(
        self, file: ExportedFile, decision: Decision, label: str | None = None, *, new: Iterable[str] = ()
    ) -> Wanted:
        """What it means to decide so on an image; `label` of another class, perhaps one that is none of the dataset. Of
        those, `new` names them that there are already.

        Raises MoveRefused where no class can be called so, or where the tree has no place for the decision.
        """
        if decision is Decision.CLASS:
            label = self._label(label or "", new)
        # Its own class's folder would mean that nothing is decided; to the suggested one, `_done` is the shorter way.
        if decision is Decision.RIGHT or label == file.given:
            return self._checked(file, Verdict.CORRECT, file.given, [f"{RIGHT}/{file.path}"])
        if decision is Decision.EXPUNGE:
            return self._checked(file, Verdict.EXPUNGE, file.given, [f"{EXPUNGE}/{file.path}"])
        if decision is Decision.UNSURE:
            return self._checked(file, Verdict.UNSURE, file.given, [f"{UNSURE}/{file.path}"])
        label = file.suggested if label is None else label
        # Of images that are alike to the last byte, only the whole path tells which is which.
        name = file.path if self._copies[file.content] > 1 else file.path.rpartition("/")[2]
        into = f"{self._folders.get(label, label)}/{name}"
        done = [f"{DONE}/{file.path}"] if label == file.suggested else []
        return self._checked(file, Verdict.RELABEL, label, [*done, into])

    def _checked(self, file: ExportedFile, verdict: Verdict, label: str, paths: list[str]) -> Wanted:
        """The first of these paths that will be read as what is wanted: in an old tree a class may be called `_done`."""
        for path in paths:
            found = self.verdict(file, path)
            if (found.verdict, found.label) == (verdict, label):
                return Wanted(verdict, label, path)
        raise MoveRefused(f"In this tree, an image that lies in {paths[0]} would not be read as it is meant.")

    def _label(self, text: str, new: Iterable[str]) -> str:
        """The label that is meant: of the dataset, or a new one."""
        if text in self._folders:
            return text
        folder = escape(text)
        if known := self._places.known(folder):
            return known
        if same_name_key(text) in {same_name_key(name) for name in (*SPECIAL, *BESIDE, MARKER)}:
            raise MoveRefused(f"{folder} is no class: the name has another meaning in a review tree.")
        if not is_class_name(text):
            could = portable_name(text).lstrip(".")[:80]
            raise MoveRefused(
                f"No class can be called {folder[:80] or 'so'}, as no folder can on every computer."
                + (f" {could} would do." if is_class_name(could) else "")
            )
        # On most systems, names that differ in case only are one folder.
        return next((label for label in new if same_name_key(label) == same_name_key(folder)), folder)

    def verdict(self, file: ExportedFile, path: str | None) -> FileVerdict:
        """The verdict on an image that lies at a path of the tree, or was deleted."""
        return verdict_at(file, path, self._places)

    def move(self, file: ExportedFile, at: str, wanted: Wanted) -> str:
        """Moves the image that lies `at` a path; returns the path where it lies then: another name in the same folder if
        what is wanted is taken.

        Raises MoveRefused, in words for whoever decided. The file lies where it lay, then.
        """
        folder, _, name = wanted.path.rpartition("/")
        taken: set[str] = set()
        while len(taken) < _ATTEMPTS:
            path = f"{folder}/{escape(free_name(unescape(name), taken))}"
            # Where another image was exported to, this one would be taken for it.
            if self._is_free(file, path) and self._moved(file, at, path):
                return path
            taken.add(same_name_key(unescape(path.rpartition("/")[2])))
        raise MoveRefused(f"{at} was not moved: in {folder} there are too many files of that name.")

    def _is_free(self, file: ExportedFile, path: str) -> bool:
        key = same_name_key(self._places.of(path).rest)
        return key == same_name_key(file.path) or key not in self._reserved

    def move_back(self, file: ExportedFile, at: str, before: str) -> None:
        """Moves an image back to exactly where it lay. Raises MoveRefused as `move`, and where something lies there now."""
        if not self._moved(file, at, before):
            raise MoveRefused(f"{at} was not moved back: another file lies at {before} now.")

    def lies(self, path: str) -> bool:
        """Whether a file lies at a path of the tree; False where that cannot be seen."""
        folder, _, name = path.rpartition("/")
        try:
            with entered(self._tree, folder) as here:
                here.regular(real_name(name))
        except OSError:
            return False
        return True

    def content(self, file: ExportedFile, at: str) -> bytes:
        """The content of an image's file that lies `at` a path. Raises OSError where it cannot be read, and where another
        exported image lies there now: since the last look, somebody may have put it there."""
        content = read_inside(self._tree, at, at_most=FILE_MAX_BYTES)
        held = self._index.exported(hashlib.sha256(content).hexdigest())
        if held != file.content and held in self._index.digests:
            raise FileNotFoundError(errno.ENOENT, "another image lies there", at)
        return content

    def _may_be_another(self, file: ExportedFile, size: int) -> bool:
        """Whether an exported image other than this one may have so many bytes."""
        sizes = self._index.sizes
        return bool(sizes[size] > (size == file.size) or sizes[None]) and size <= FILE_MAX_BYTES

    def _moved(self, file: ExportedFile, at: str, path: str) -> bool:
        """False where something lies at `path`."""
        (folder, _, name), (into, _, new) = at.rpartition("/"), path.rpartition("/")
        self._require_tree()
        try:
            with entered(self._tree, folder) as source:
                seen = source.regular(real_name(name))  # before a folder is made for it
                if self._may_be_another(file, seen.st_size):
                    self.content(file, at)
                try:
                    with entered(self._tree, into, make=True) as target:
                        move(source, real_name(name), target, real_name(new))
                except FileNotFoundError as error:
                    source.regular(real_name(name))
                    raise MoveRefused(f"{at} was not moved: {into} went away meanwhile.") from error
        except FileExistsError:
            return False
        except OSError as error:
            raise MoveRefused(_in_words(error, at, path)) from None
        return True

    def _require_tree(self) -> None:
        """A share that went away must not get folders where it was mounted."""
        try:
            with entered(self._tree, MARKER):
                return
        except OSError:
            raise MoveRefused(
                "Nothing was moved, for the review tree cannot be reached. Is its share there?"
            ) from None


_WORDS = {
    errno.ENOENT: "It is not there any more: somebody has moved or deleted it meanwhile.",
    errno.ESTALE: "It is not there any more: somebody has moved or deleted it meanwhile.",
    errno.EROFS: "The folder is on a share that can only be read.",
    errno.EACCES: "You may not write there.",
    errno.EPERM: "You may not write there.",
    errno.ENOSPC: "The disk is full.",
    errno.EDQUOT: "Your share of the disk is full.",
    errno.ENAMETOOLONG: "Its name is too long there.",
    errno.EXDEV: "That folder lies on another disk.",
    errno.ELOOP: "A folder on the way is a link, which may lead anywhere.",
    errno.ENOTDIR: "What should be a folder is a file.",
    errno.EBUSY: "Another program holds it.",
}


def _in_words(error: OSError, at: str, path: str) -> str:
    why = _WORDS.get(error.errno or 0) or f"The system says: {error.strerror or error}."
    return f"{at} was not moved to {path.rpartition('/')[0] or 'the top'}. {why}"
