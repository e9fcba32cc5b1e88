"""What a review tree says, worked out in another way than dupekit does: by all contents, from DESIGN's table.

Reads every file, which dupekit spares itself, and answers only where the table leaves no doubt.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from dupekit.files.write import digest_file
from dupekit.review.manifest import BESIDE, MARKER, ExportedFile, Manifest

TRASH = [".Trash-1000/files", "#recycle/amoeba"]
CLUTTER = ["Thumbs.db", "._x", ".DS_Store"]

VERDICTS = {"_right": "correct", "_expunge": "expunge", "_unsure": "unsure"}

Said = tuple[str, str]
"""Verdict and label."""


def allowed(tree: Path, manifest: Manifest) -> dict[str, set[Said]]:
    """Path of an exported file -> what may be read of it, mostly one thing; left out where all may be."""
    oracle = _Oracle(tree, manifest)
    found = {}
    for group in oracle.by_digest.values():
        for file, those in oracle.of_equals(group):
            if those:
                found[file.path] = those
    return found


def contents(tree: Path) -> dict[str, str]:
    """Path -> digest of every file that counts."""
    ignored = {_key(name) for name in (MARKER, *CLUTTER, *(folder.split("/")[0] for folder in TRASH))}
    own = set(map(_key, BESIDE))
    files = [path.relative_to(tree) for path in sorted(tree.rglob("*")) if path.is_file()]
    paths = [path for path in files if _key(path.as_posix()) not in own]
    return {p.as_posix(): digest_file(tree / p) for p in paths if not ignored & set(map(_key, p.parts))}


class _Oracle:
    def __init__(self, tree: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.here = contents(tree)
        self.by_digest: dict[str, list[ExportedFile]] = defaultdict(list)
        for file in manifest.files:
            self.by_digest[file.digest].append(file)
        self.exported = {_key(file.path): file for file in manifest.files}

    def of_equals(self, group: Sequence[ExportedFile]) -> Iterable[tuple[ExportedFile, set[Said]]]:
        """The files of one content share the places where it lies."""
        places = {path for path, digest in self.here.items() if digest == group[0].digest}
        own = {file.path: [path for path in self.own_places(file) if path in places] for file in group}
        away = [file for file in group if not own[file.path]]
        for file in group:
            if own[file.path]:
                yield file, {self.said(file, path) for path in own[file.path]} | self.of_edited(file)
                places -= set(own[file.path])
        if len(group) > 1 and any(self.of_edited(file) for file in away):
            return
        # Who kept its name lies where that name is.
        names = Counter(_name(file.path) for file in away)
        kept = {
            file.path: [path for path in places if _name(path) == _name(file.path)]
            for file in away
            if names[_name(file.path)] == 1
        }
        others = [file for file in away if not kept.get(file.path)]
        claimed = {path for those in kept.values() for path in those}
        free = places - claimed if all(len(those) < 2 for those in kept.values()) else places
        for file in away:
            where = kept.get(file.path) or sorted(free)
            if not where:
                yield file, self.of_missing(file)
                continue
            those = {self.said(file, path) for path in where}
            if file in others and len(others) > len(places - claimed):
                those |= {("correct", file.given), self.said(file, file.path)}
                those |= {self.said(file, path) for path in self.own_places(file)}
                those |= {self.said(file, path) for path in self.here if _name(path) == _name(file.path)}
            yield file, those | self.of_edited(file)  # or moved, and something put in its place

    def of_missing(self, file: ExportedFile) -> set[Said]:
        """Its content is nowhere: deleted, or edited and known by its path or its name."""
        if edited_there := self.of_edited(file):
            others = any(self.here[path] in self.by_digest for path in self.own_places(file))
            return set() if others else edited_there
        edited = []
        # In its own place, or one of another form of its name beside it.
        taken = {_key(_below(path)) for path in self.here if self.is_at_home(path)}
        for path in (path for path in self.here if _name(path) == _name(file.path)):
            home = self.exported.get(_key(_below(path)))
            if self.here[path] in self.by_digest:
                continue  # whatever was exported so is no edited file
            if home and _key(_below(path)) not in taken and home.digest not in self.here.values():
                taken.add(_key(_below(path)))  # edited in its own place
            elif not home:
                edited.append(path)
            else:
                return set()
        named = [f for f in self.manifest.files if _name(f.path) == _name(file.path) and f is not file]
        if any(len(self.by_digest[other.digest]) > 1 for other in named):
            return set()
        rivals = [f for f in named if f.digest not in self.here.values() and not self.of_edited(f)]
        if len(edited) == 1 and not rivals:
            return {self.said(file, edited[0])}
        return {("correct", file.given)}  # deleted, or nobody knows which of them was edited and moved

    def is_at_home(self, path: str) -> bool:
        home = self.exported.get(_key(_below(path)))
        return home is not None and self.here[path] == home.digest

    def own_places(self, file: ExportedFile) -> list[str]:
        """Where something lies under its path: there, or in one of the four folders that its folder was moved to."""
        there = [path for path in self.here if _key(path) == _key(file.path)]
        return there or [path for path in self.here if _key(_below(path)) == _key(file.path)]

    def of_edited(self, file: ExportedFile) -> set[Said]:
        """What it says if it was edited, in its place or with its folder."""
        there = [path for path in self.own_places(file) if self.here[path] not in self.by_digest]
        return {self.said(file, path) for path in there}

    def said(self, file: ExportedFile, path: str) -> Said:
        """DESIGN's table, for a file that lies there."""
        *folders, name = path.split("/")
        shown = list(takewhile(lambda folder: not folder.startswith("."), map(_key, folders)))
        cut = max((at for at, folder in enumerate(shown) if folder == "_done"), default=-1) + 1
        if marks := [VERDICTS[folder] for folder in shown[cut:] if folder in VERDICTS]:
            return marks[-1], file.given
        rest = folders[cut:]
        if any(part.startswith(".") for part in (*rest, name)):  # no scan would see such a class
            return "unsure", file.given
        as_suggested = ("relabel", file.suggested) if cut else ("open", file.given)
        if not rest:
            return as_suggested if cut else ("unsure", file.given)
        if _key(rest[0]) == _key(file.path.split("/")[0]):
            return as_suggested
        labels = {_key(label): label for label in self.manifest.folders.values()}
        labels |= {_key(folder): label for folder, label in self.manifest.folders.items()}
        home = _key(file.path).split("/")[:-1]
        if cut and _key(rest[0]) not in labels and home[-len(rest) :] == list(map(_key, rest)):
            return as_suggested  # a sub-folder of its class, moved to _done by itself
        return "relabel", labels.get(_key(rest[0]), rest[0])


def _below(path: str) -> str:
    """A path without all up to the last of the four folders."""
    parts = path.split("/")
    shown = list(takewhile(lambda folder: not folder.startswith("."), map(_key, parts[:-1])))
    special = [at for at, folder in enumerate(shown) if folder == "_done" or folder in VERDICTS]
    return "/".join(parts[special[-1] + 1 :] if special else parts)


def _key(path: str) -> str:
    """One for all that Windows or a Mac takes for the same name."""
    return unicodedata.normalize("NFC", path).casefold()


def _name(path: str) -> str:
    return _key(path.split("/")[-1])
