"""Corrections -> where each file of the corrected dataset goes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dupekit.dataset.scan import class_order
from dupekit.files.names import escape, free_name, same_name_key, unescape


class Source(NamedTuple):
    """An image file of the dataset, as the last scan saw it. A tuple, for it is made a million times."""

    image: int
    path: str
    label: str
    size: int
    mtime_ns: int
    digest: str
    """Empty where the file could not be read."""


Sources = Mapping[str, Iterable[Source]]
"""Class -> its files by path: gone through several times, so that no more than one class need be held."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A verdict that changes the dataset."""

    image: int
    path: str
    old_label: str
    new_label: str | None
    """None: expunged, not in the corrected dataset."""
    votes: int
    score: float
    decided: str
    """UTC, ISO 8601."""
    digest: str
    """SHA-256 of the file's content."""
    decided_on: str
    """The path of the image that was decided on: another one where it was renamed, or this is a copy of it."""


class Placement(NamedTuple):
    """A file of the corrected dataset and where it comes from; paths escaped and relative."""

    source: Source
    path: str
    root: Path | None = None
    """The folder that holds the source, where that is not the dataset."""


@dataclass(frozen=True, slots=True, eq=False)
class DatasetPlan:
    """The files of a corrected dataset: those that stay, read from `sources` when asked for, and those that come from elsewhere."""

    sources: Sources
    leaving: Set[str]
    """Paths of the sources that do not stay where they are."""
    coming: Mapping[str, Sequence[Placement]]
    """Class -> the files that come into it."""
    new_paths: Mapping[int, str]
    """Image -> where it goes, of those corrected that are in it."""
    count: int
    """Of all files."""
    key: str
    """Equal for plans that place the same files."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Placement]:
        for label in self.classes():
            yield from self.of_class(label)

    def classes(self) -> list[str]:
        """Those that files may be in."""
        return sorted({*self.sources, *self.coming}, key=class_order)

    def of_class(self, label: str) -> Iterator[Placement]:
        """The files that are placed below a class."""
        for source in self.sources.get(label, ()):
            if source.path not in self.leaving:
                yield Placement._make((source, source.path, None))
        yield from self.coming.get(label, ())


def plan_dataset(sources: Sources, corrections: Mapping[int, Correction]) -> DatasetPlan:
    """Where each file goes: as it was, or at the same place below its new class.

    A relabelled file whose name is taken there, in any case or Unicode form, by a file or a folder, is
    numbered, and so is its sub-folder where a file has that name; no file that stays is ever renamed.
    """
    draft = Draft(sources)
    new_paths: dict[int, str] = {}
    leaving: set[str] = set()
    moved: dict[str, list[tuple[Source, str]]] = defaultdict(list)
    for source in draft:
        correction = corrections.get(source.image)
        if correction is None:
            continue
        if correction.new_label == source.label:
            new_paths[source.image] = source.path
            continue
        leaving.add(source.path)
        if correction.new_label:
            moved[_key(correction.new_label)].append((source, correction.new_label))
    coming: list[Placement] = []
    for folder, those in moved.items():
        # The names of one folder at a time, though there be several that are one to some file systems.
        taken = _Names(
            source.path
            for label in sources
            if _key(label) == folder
            for source in sources[label]
            if source.path not in leaving
        )
        for source, label in those:
            path = taken.free(label, source.path.split("/")[1:])
            coming.append(Placement(source, path))
            new_paths[source.image] = path
    return draft.plan(leaving, coming, new_paths)


class Draft:
    """The sources of a plan, gone through once, and then the plan."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._count = 0
        self._key = hashlib.sha256()

    def __iter__(self) -> Iterator[Source]:
        for of_class in self._sources.values():
            for source in of_class:
                self._count += 1
                _, path, _, size, mtime_ns, digest = source
                self._key.update(
                    f"{path}\t{size}\t{mtime_ns}\t{digest}\n".encode()
                )  # escaped text holds neither
                yield source

    def plan(
        self, leaving: Set[str], coming: Sequence[Placement], new_paths: Mapping[int, str]
    ) -> DatasetPlan:
        """Of the sources those that are not `leaving`, and what comes into a class."""
        self._key.update("".join(f"{path}\n" for path in sorted(leaving)).encode())
        by_class: dict[str, list[Placement]] = defaultdict(list)
        for placement in coming:
            source, path, root = placement
            place = escape(str(root.resolve())) if root else ""
            self._key.update("\t".join((place, path, *map(str, source[1:]))).encode() + b"\n")
            by_class[path.partition("/")[0]].append(placement)
        count = self._count - len(leaving) + len(coming)
        return DatasetPlan(self._sources, leaving, by_class, new_paths, count, self._key.hexdigest())


class _Names:
    """The names in use in each folder of a dataset; folders that are one to some file systems count as one.

    Keys are of names as they are on disk: an escaped name is another name."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._all: dict[str, set[str]] = defaultdict(set)
        self._files: dict[str, set[str]] = defaultdict(set)
        last, all_there, files = None, self._all[""], self._files[""]
        for path in paths:
            parent, _, name = path.rpartition("/")
            if parent != last:  # a million names, and few folders
                last, folder = parent, _key(parent)
                self._add_folders(parent)
                all_there, files = self._all[folder], self._files[folder]
            key = _key(name)
            all_there.add(key)
            files.add(key)

    def free(self, label: str, parts: Sequence[str]) -> str:
        """A path below `label`, like `parts`, that nothing has yet; it is taken then."""
        parent = label
        for part in parts[:-1]:
            folder = _key(parent)
            name = part
            if _key(part) in self._files[folder]:
                name = escape(free_name(unescape(part), self._all[folder]))
            self._all[folder].add(_key(name))
            parent = f"{parent}/{name}"
        name = escape(free_name(unescape(parts[-1]), self._all[_key(parent)]))
        self._all[_key(parent)].add(_key(name))
        self._files[_key(parent)].add(_key(name))
        return f"{parent}/{name}"

    def _add_folders(self, path: str) -> None:
        while path:
            parent, _, name = path.rpartition("/")
            self._all[_key(parent)].add(_key(name))
            path = parent


def _key(text: str) -> str:
    return same_name_key(unescape(text))
