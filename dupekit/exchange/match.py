"""Which image of a dataset a name means that was written elsewhere. Strictly: a name that could mean two images means none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from dupekit.files.names import escape, unescape


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    rows: NDArray[np.int64]
    """The image of each name, by its position among the paths; -1 where there is none."""
    unknown: list[str]
    """Names that no image has."""
    ambiguous: dict[str, list[str]]
    """Names that could mean several images, and which."""


class ImageNames:
    """The images of a dataset, by what others may call them: their path in it, below any folder; or, without folders, their
    file's name or its stem, as the names of an IFCB's regions of interest are."""

    def __init__(self, paths: Sequence[str], *, root: Path) -> None:
        """`paths` as the ledger has them, escaped; `root` is the dataset's folder."""
        self.paths = paths
        self._rows = {path: row for row, path in enumerate(paths)}
        self._roots = tuple(
            dict.fromkeys(f"{base.as_posix()}/" for base in (root.absolute(), root.resolve()))
        )

    def match(self, names: Sequence[str]) -> Matched:
        rows = np.full(len(names), -1, np.int64)
        unknown, ambiguous = [], {}
        for at, name in enumerate(names):
            found = self._find(name)
            if len(found) == 1:
                rows[at] = found[0]
            elif found:
                ambiguous[name] = [self.paths[row] for row in found]
            else:
                unknown.append(name)
        return Matched(rows, unknown, ambiguous)

    def _find(self, name: str) -> list[int]:
        """The images that a name may mean, by the first way of reading it that means any."""
        for text in dict.fromkeys((name, name.replace("\\", "/"))):  # the second: as Windows writes paths
            bare = next((text.removeprefix(root) for root in self._roots if text.startswith(root)), text)
            for form in _forms(bare):
                if found := self._of(form):
                    return found
        return []

    def _of(self, path: str) -> list[int]:
        row = self._rows.get(path)
        if row is not None:
            return [row]
        if "/" in path:
            return [self._rows[tail] for tail in _tails(path) if tail in self._rows]
        return self._by_name.get(path) or self._by_stem.get(path) or []

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        found = defaultdict(list)
        for row, path in enumerate(self.paths):
            found[path.rpartition("/")[2]].append(row)
        return dict(found)

    @cached_property
    def _by_stem(self) -> dict[str, list[int]]:
        found = defaultdict(list)
        for name, rows in self._by_name.items():
            found[PurePosixPath(name).stem].extend(rows)
        return dict(found)


def _forms(text: str) -> dict[str, None]:
    """How the ledger may have it: as it was printed, escaped, or as it stands on disk."""
    text = text.removeprefix("./")
    return dict.fromkeys((escape(unescape(text)), escape(text)))


def _tails(path: str) -> Iterator[str]:
    """What is left below each of its folders, itself in a folder at least."""
    _, slash, rest = path.partition("/")
    while slash and "/" in rest:
        yield rest
        _, slash, rest = rest.partition("/")


def known_class(name: str, known: Container[str]) -> str | None:
    """The class of a dataset, escaped, that is called so elsewhere."""
    return next((form for form in _forms(name) if form in known), None)
