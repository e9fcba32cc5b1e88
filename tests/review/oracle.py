"""What a review tree says, worked out in another way than dupekit does: by all contents, from DESIGN's table.

Reads every file, which dupekit spares itself, and answers only where the table leaves no doubt.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from dupekit.files.write import digest_file
from dupekit.review.manifest import BESIDE, MARKER, ExportedFile, Manifest

TRASH = [".Trash-1000/files", "#recycle/amoeba"]
CLUTTER = ["Thumbs.db", "._x", ".DS_Store"]

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
        at_home = [file for file in group if file.path in places]
        away = [file for file in group if file.path not in places]
        for file in at_home:
            yield file, {self.said(file, file.path)}
        places -= {file.path for file in at_home}
        if len(group) > 1 and any(self.is_edited(file) for file in away):
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
                those |= {self.said(file, path) for path in self.here if _name(path) == _name(file.path)}
            if self.is_edited(file):
                those.add(self.said(file, file.path))  # or moved, and something put in its place
            yield file, those

    def of_missing(self, file: ExportedFile) -> set[Said]:
        """Its content is nowhere: deleted, or edited and known by its path or its name."""
        own = self.at_own_path(file)
        if own - self.by_digest.keys():
            return set() if own & self.by_digest.keys() else {self.said(file, file.path)}
        edited = []
        # In its own place, or one of another form of its name beside it.
        taken = {_key(path) for path in self.here if self.is_at_home(path)}
        for path in (path for path in self.here if _name(path) == _name(file.path)):
            home = self.exported.get(_key(path))
            if self.here[path] in self.by_digest:
                continue  # whatever was exported so is no edited file
            if home and _key(path) not in taken and home.digest not in self.here.values():
                taken.add(_key(path))  # edited in its own place
            elif not home:
                edited.append(path)
            else:
                return set()
        named = [f for f in self.manifest.files if _name(f.path) == _name(file.path) and f is not file]
        if any(len(self.by_digest[other.digest]) > 1 for other in named):
            return set()
        rivals = [f for f in named if f.digest not in self.here.values() and not self.is_edited(f)]
        if len(edited) == 1 and not rivals:
            return {self.said(file, edited[0])}
        return {("correct", file.given)}  # deleted, or nobody knows which of them was edited and moved

    def is_at_home(self, path: str) -> bool:
        home = self.exported.get(_key(path))
        return home is not None and self.here[path] == home.digest

    def at_own_path(self, file: ExportedFile) -> set[str]:
        return {digest for path, digest in self.here.items() if _key(path) == _key(file.path)}

    def is_edited(self, file: ExportedFile) -> bool:
        return bool(self.at_own_path(file) - self.by_digest.keys())

    def said(self, file: ExportedFile, path: str) -> Said:
        """DESIGN's table, for a file that lies there."""
        top, _, rest = path.partition("/")
        if _key(top) == _key(file.path.split("/")[0]):
            return "relabel", file.suggested
        if _key(top) == "_expunge":
            return "expunge", file.given
        if _key(top) == "_unsure" or not rest:
            return "unsure", file.given
        folders = self.manifest.folders
        labels = {_key(label): label for label in folders.values()}
        labels |= {_key(folder): label for folder, label in folders.items()}
        if _key(top) not in labels and top.startswith("."):  # no scan would see such a class
            return "unsure", file.given
        return "relabel", labels.get(_key(top), top)


def _key(path: str) -> str:
    """One for all that Windows or a Mac takes for the same name."""
    return unicodedata.normalize("NFC", path).casefold()


def _name(path: str) -> str:
    return _key(path.split("/")[-1])
