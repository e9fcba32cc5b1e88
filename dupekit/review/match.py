"""Which file in a review tree is which exported one.

Content decides, but to read a large tree on a share takes minutes. So a path is believed until something speaks
against it, and only what is in doubt is read:

1. By path, also where case or Unicode form changed, as on a journey over another computer, or where its folder was moved
   to `_done` or another of those as it is.
2. Doubts: what may be another exported file that was moved or copied over this one, is read. Only in a large tree
   that was carried elsewhere, one put over another that is as long may escape, while no file is missing.
3. By content: whatever lies elsewhere.
4. By name: what was edited as well as moved, if its name is the only one.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dupekit.files.names import same_name_key, sort_key
from dupekit.review.listing import Entry
from dupekit.review.manifest import ExportedFile, Manifest
from dupekit.review.places import Places
from dupekit.review.tree_paths import name_key, parent_key

READ_AT_MOST = 1000
"""So many files that lie in their places and were touched are read on mere suspicion; on a share that takes seconds."""


class Index:
    """A manifest in the ways in which it is asked. Made once by who judges again and again: of 100,000 files it takes
    a fifth of a second, and for that long more memory than anything else."""

    def __init__(self, manifest: Manifest) -> None:
        self.files = manifest.files
        self.sizes = Counter(file.size for file in manifest.files)
        self.namesakes = _namesakes(manifest.files)
        # Windows calls the time of creation so, which a file keeps when it is moved.
        settled_us = manifest.settled_us if os.name != "nt" else None
        self.untouched_ns = 1000 * (settled_us or 0)
        self.places = Places(manifest)
        self._copies = {file.digest: file.content for file in manifest.files if file.copy_digest}

    def exported(self, digest: str) -> str:
        """The digest of an image's enlarged copy, which the image itself may stand for; any other as it is."""
        return self._copies.get(digest, digest)

    @cached_property
    def digests(self) -> set[str]:
        return {file.content for file in self.files}


@dataclass(frozen=True, slots=True)
class Matching:
    """Where every exported file lies."""

    place: dict[str, str]
    """Path of an exported file -> path where it lies now; left out where it is gone."""
    unknown: set[str]
    """Paths of the files that are no exported one, or second copies."""


def match(index: Index, files: Mapping[str, Entry], digest: Callable[[str], str]) -> Matching:
    """Finds every exported file among those of a listing. `digest` gives the digest of a file in the tree, and is
    asked only where a path does not say all."""
    matching = _by_path(index, files)
    elsewhere = _doubt(index, files, lambda path: index.exported(digest(path)), matching)
    if elsewhere:
        missing = [file for file in index.files if file.path not in matching.place]
        _by_content(index.places, missing, elsewhere, matching)
        edited = [path for held, paths in elsewhere.items() if held not in index.digests for path in paths]
        _by_name(missing, edited, matching)
    return matching


def _by_path(index: Index, files: Mapping[str, Entry]) -> Matching:
    place = {file.path: file.path for file in index.files if file.path in files}
    unknown = {path for path in files if path not in place}
    by_key = {
        same_name_key(index.places.of(path).rest): path
        for path in sorted(unknown, key=sort_key, reverse=True)
    }
    # What only changed its form lies nearer than what was moved.
    by_key |= {same_name_key(path): path for path in sorted(unknown, key=sort_key, reverse=True)}
    for file in index.files if by_key else ():
        if file.path not in place and (twin := by_key.get(same_name_key(file.path))) in unknown:
            place[file.path] = twin
            unknown.remove(twin)
    return Matching(place, unknown)


def _doubt(
    index: Index, files: Mapping[str, Entry], digest: Callable[[str], str], matching: Matching
) -> dict[str, list[str]]:
    """Takes from its place what turns out to be another exported file; that may bring others into doubt.

    Returns the digest of every file that is in nobody's place, with the paths where it lies: read only if some
    exported file is missing.
    """
    place, unknown = matching.place, matching.unknown
    few = sum(files[at].changed_ns >= index.untouched_ns for at in place.values()) <= READ_AT_MOST
    elsewhere: dict[str, list[str]] = defaultdict(list)
    read: set[str] = set()
    while True:
        missing = [file for file in index.files if file.path not in place]
        for path in sorted(unknown - read, key=sort_key) if missing else ():
            read.add(path)
            elsewhere[digest(path)].append(path)
        doubts = _Doubts(index, few, set(elsewhere), _lost_sizes(missing, elsewhere))
        wrong = []
        for file in index.files:
            at = place.get(file.path)
            if at is None or at in read or not doubts.about(file, files[at]):
                continue
            read.add(at)
            held = digest(at)
            if held != file.content and held in index.digests:
                wrong.append(file)
                elsewhere[held].append(at)
        if not wrong:
            return elsewhere
        unknown.update(place.pop(file.path) for file in wrong)


def _lost_sizes(missing: Iterable[ExportedFile], elsewhere: Mapping[str, Sequence[str]]) -> set[int]:
    """Of contents of which more files are missing than lie elsewhere."""
    wanted = Counter(file.content for file in missing)
    lost = [file for file in missing if wanted[file.content] > len(elsewhere.get(file.content, ()))]
    return {file.size for file in lost if file.size is not None}


@dataclass(frozen=True, slots=True)
class _Doubts:
    """Whether a path alone is to be believed."""

    index: Index
    few: bool
    """Whether so few files were touched that all may be read."""
    copied: set[str]
    """Digests of what lies in nobody's place."""
    lost: set[int]
    """Sizes of exported files that lie nowhere, as far as was read."""

    def about(self, file: ExportedFile, seen: Entry) -> bool:
        if file.size not in (None, seen.size):  # edited, or another one
            return seen.size in self.index.sizes
        others = self.index.namesakes.get(name_key(file.path), ()) if self.index.namesakes else ()
        # Also if untouched: a folder that is renamed gives its files other paths, and does not touch them.
        if any(held != file.content and size in (None, seen.size) for held, size in others):
            return True
        if seen.changed_ns < self.index.untouched_ns:  # whatever came here from another name was touched
            return False
        lies_elsewhere_too, one_as_long_is_lost = file.content in self.copied, file.size in self.lost
        return lies_elsewhere_too or one_as_long_is_lost or (self.few and self.index.sizes[file.size] > 1)


def _namesakes(files: Iterable[ExportedFile]) -> dict[str, set[tuple[str, int | None]]]:
    """Name -> digests and sizes, of names that were exported with more than one content."""
    first: dict[str, ExportedFile] = {}
    # Of few, or none: a set a file is too much.
    found: dict[str, set[tuple[str, int | None]]] = defaultdict(set)
    for file in files:
        other = first.setdefault(name_key(file.path), file)
        if other.content != file.content:
            found[name_key(file.path)] |= {(one.content, one.size) for one in (other, file)}
    return found


def _by_content(
    places: Places, missing: list[ExportedFile], elsewhere: dict[str, list[str]], matching: Matching
) -> None:
    """Of equal contents, first each file that kept its path, perhaps below another class's folder, then its name, then its
    folder, then the others."""
    place, unknown = matching.place, matching.unknown
    rest = {path: places.of(path).rest for paths in elsewhere.values() for path in paths}
    for kept, now in _KEPT:
        for file in [file for file in missing if file.path not in place]:
            there = [path for path in elsewhere.get(file.content, ()) if path in unknown]
            if candidates := [path for path in there if now(rest[path]) == kept(file.path)]:
                best = min(candidates, key=lambda path: (*_distance(file.path, rest[path]), sort_key(path)))
                unknown.remove(best)
                place[file.path] = best


_KEPT: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (same_name_key, same_name_key),
    (same_name_key, lambda path: same_name_key(path.partition("/")[2])),
    (name_key, name_key),
    (parent_key, parent_key),
    (lambda _: "", lambda _: ""),
)
"""What a file may have kept, and where that stands in its path now."""


def _by_name(missing: Iterable[ExportedFile], edited: Iterable[str], matching: Matching) -> None:
    """What was edited and moved: one file missing, and one unknown file, of that name."""
    there: dict[str, list[str]] = defaultdict(list)
    for path in edited:
        there[name_key(path)].append(path)
    lost: dict[str, list[str]] = defaultdict(list)
    for file in missing if there else ():
        if file.path not in matching.place and (key := name_key(file.path)) in there:
            lost[key].append(file.path)
    for key, paths in lost.items():
        if len(paths) == len(there[key]) == 1:
            matching.place[paths[0]] = there[key][0]
            matching.unknown.remove(there[key][0])


def _distance(exported: str, path: str) -> tuple[bool, bool]:
    parent, _, name = exported.rpartition("/")
    other_parent, _, other_name = path.rpartition("/")
    return name != other_name, parent != other_parent
