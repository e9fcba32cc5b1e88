"""Corrections -> where each file of the corrected dataset goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dupekit.files.names import escape, free_name, same_name_key, unescape


@dataclass(frozen=True, slots=True)
class Source:
    """An image file of the dataset, as the last scan saw it."""

    image: int
    path: str
    label: str
    size: int
    mtime_ns: int
    digest: str
    """Empty where the file could not be read."""


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


@dataclass(frozen=True, slots=True)
class Placement:
    """A file of the corrected dataset and where it comes from; paths escaped and relative."""

    source: Source
    path: str
    root: Path | None = None
    """The folder that holds the source, where that is not the dataset."""


def plan_dataset(sources: Sequence[Source], corrections: Mapping[int, Correction]) -> list[Placement]:
    """Where each file goes: as it was, or at the same place below its new class.

    A relabelled file whose name is taken there, in any case or Unicode form, by a file or a folder, is
    numbered, and so is its sub-folder where a file has that name; no file that stays is ever renamed.
    """
    placements: list[Placement] = []
    moved: list[tuple[Source, str]] = []
    taken = _Names()
    for source in sources:
        correction = corrections.get(source.image)
        if correction is None or correction.new_label == source.label:
            taken.add(source.path)
            placements.append(Placement(source, source.path))
        elif correction.new_label:
            moved.append((source, correction.new_label))
    for source, label in moved:
        below = PurePosixPath(source.path).relative_to(source.label)
        placements.append(Placement(source, taken.free(label, below.parts)))
    return placements


class _Names:
    """The names in use in each folder of a dataset; folders that are one to some file systems count as one.

    Keys are of names as they are on disk: an escaped name is another name."""

    def __init__(self) -> None:
        self._all: dict[str, set[str]] = defaultdict(set)
        self._files: dict[str, set[str]] = defaultdict(set)

    def add(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        folder = _key(parent)
        key = _key(name)
        if not self._all[folder]:
            self._add_folders(parent)
        self._all[folder].add(key)
        self._files[folder].add(key)

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
        self.add(f"{parent}/{name}")
        return f"{parent}/{name}"

    def _add_folders(self, path: str) -> None:
        while path:
            parent, _, name = path.rpartition("/")
            self._all[_key(parent)].add(_key(name))
            path = parent


def _key(text: str) -> str:
    return same_name_key(unescape(text))
