"""Looks at a review tree, again and again, and knows what the last look found.

A look costs a listing, two where something has changed; between looks only a fingerprint of the listing is kept.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.review.listing import Entry, Vanished, list_tree
from dupekit.review.manifest import MARKER, Manifest, export_key
from dupekit.review.match import Index
from dupekit.review.verdicts import Review, digest_of, judge, misspelt

BUSY_S = 0.25
"""Between two looks at a tree that is changing."""
_LONG, _AT_LAST = 40, 20
"""So many looks in a row that found the tree changing are worth a word; and so many are made at the end."""
_PATIENCE = 3
"""So many looks in a row may fail at a tree that is still the same, as while something in it is replaced."""

Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a look found."""

    review: Review | None
    """None where the tree cannot be read."""
    trouble: str | None = None
    """Why it cannot, or why the review is of an earlier look."""
    remedy: str = ""
    misspelt: Mapping[str, str] = field(default_factory=dict)
    """New class -> the class of the dataset whose name is nearly its own."""
    began_s: float = 0.0
    """When the look began that the review is of, in seconds of the monotonic clock: what was moved later it may not know."""


class Looker:
    """Looks at one tree."""

    def __init__(self, tree: Path, manifest: Manifest) -> None:
        self.found = Look(None)
        """By the last look; the same object as long as nothing has changed."""
        self.busy = 0
        """How many looks in a row found the tree changing."""
        self.ended_at = self.took_s = 0.0
        """Of the last look at a tree that was not changing."""
        self._tree, self._manifest, self._index = tree, manifest, Index(manifest)
        self._seen: bytes | None = None
        """Fingerprint of the files that `found` judges."""
        self._digests: dict[tuple[str, Entry], str] = {}
        """Of files whose path does not say all."""
        self._root: Identity | None = None
        """Of the tree that was read last, until it cannot be."""

    def look(self) -> None:
        """Brings `found` up to date, or counts as `busy` where the tree is changing right now.

        One listing that equals the last settled one is enough; else two in a row must agree.
        """
        started = time.monotonic()
        try:
            # Of the first listing only the fingerprint is kept: two would be the largest thing in memory.
            first = _fingerprint(list_tree(self._tree).files)
            if first != self._seen:
                files = list_tree(self._tree).files
                if _fingerprint(files) != first:
                    self._restless()
                    return
                review = self._judged(files)
                near = misspelt(review, self._manifest)
                self.found, self._seen = Look(review, misspelt=near, began_s=started), first
                self._root = identity(self._tree)
        except TreeUnavailable as error:
            # What was deleted or moved while it was read is no trouble, if a later look finds the tree in order.
            same_tree = self._root is not None and identity(self._tree) == self._root
            if self.busy < (_LONG if isinstance(error, Vanished) else _PATIENCE if same_tree else 0):
                self.busy += 1
                return
            self._gone(error)
        self.busy = 0
        self.ended_at = time.monotonic()
        self.took_s = self.ended_at - started

    def look_until_it_rests(self) -> None:
        self.busy = 0
        for _ in range(_AT_LAST):
            self.look()
            if not self.busy:
                return
            time.sleep(BUSY_S)
        self._gone(TreeUnavailable(f"{self._tree} keeps changing while it is read."))

    def _judged(self, files: Mapping[str, Entry]) -> Review:
        used: dict[tuple[str, Entry], str] = {}

        def digest(path: str) -> str:
            key = (path, files[path])
            used[key] = self._digests.get(key) or digest_of(self._tree, path)
            return used[key]

        key = export_key(self._tree)
        if key not in (None, self._manifest.export):
            raise TreeUnavailable(
                f"{self._tree} is the tree of another export now ({key[:8]}, not {self._manifest.export[:8]}).",
                hint="Put the tree back that is watched, or stop and watch this one.",
            )
        review = judge(self._manifest, files, digest, index=self._index)
        self._digests = used
        return review

    def _restless(self) -> None:
        self.busy += 1
        if self.busy == _LONG:
            note = "The tree keeps changing while it is read; these figures are of an earlier look."
            self.found, self._seen = replace(self.found, trouble=note), None

    def _gone(self, error: TreeUnavailable) -> None:
        if self.found.review is not None or self.found.trouble != error.message:
            self.found = Look(None, error.message, error.hint)
        self._seen = self._root = None


def identity(tree: Path) -> Identity | None:
    """Differs where another tree lies at this path; None where there is none."""
    try:
        root, marker = tree.stat(), (tree / MARKER).stat()
    except OSError:
        return None
    return root.st_dev, root.st_ino, marker.st_dev, marker.st_ino


def _fingerprint(files: Mapping[str, Entry]) -> bytes:
    made = hashlib.sha256()
    for path, (size, modified_ns, changed_ns, folder) in files.items():
        made.update(f"{path}\n{size} {modified_ns} {changed_ns} {folder}\n".encode())
    return made.digest()
