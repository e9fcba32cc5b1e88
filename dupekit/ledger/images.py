"""Tables `classes` and `images`: the dataset as the last scan saw it."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.correct.placements import Source
from dupekit.dataset.columns import BLOCK, DigestColumn, DigestWriter, TextColumn, TextWriter, numbered
from dupekit.dataset.scan import Content, class_order
from dupekit.errors import LedgerError
from dupekit.ledger.database import DAMAGED, Ledger, understood
from dupekit.rounds.class_view import ClassView


class ImageState(StrEnum):
    OK = "ok"
    PROBLEM = "problem"
    """It cannot be used."""
    GONE = "gone"
    """Its file is not there any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The readable images, as columns sorted by `ids`."""

    ids: NDArray[np.int64]
    paths: TextColumn
    classes: list[str]
    labels: NDArray[np.int32]
    """Positions in `classes`, of which not all need have images."""
    digests: DigestColumn
    sizes: NDArray[np.int32]
    """Shape (n, 2): width and height."""

    def take(self, rows: NDArray[np.integer]) -> Columns:
        """Those at these positions, ascending."""
        return Columns(
            self.ids[rows],
            self.paths.take(rows),
            self.classes,
            self.labels[rows],
            self.digests.take(rows),
            self.sizes[rows],
        )

    @classmethod
    def of(cls, ledger: Ledger, rows: Iterable[tuple[int, str, int, str, int, int]]) -> Columns:
        """Of rows of number, path, the class's number, digest, width and height, which may be millions."""
        numbers = class_numbers(ledger)
        ids, labels, sizes = array("q"), array("q"), array("q")
        paths, digests = TextWriter(), DigestWriter()
        left = iter(rows)
        while block := list(islice(left, BLOCK)):
            of_block = list(zip(*block, strict=True))
            ids.extend(of_block[0])
            paths.extend(of_block[1])
            labels.extend(of_block[2])
            understood(digests.extend, of_block[3])
            sizes.extend(chain.from_iterable(zip(of_block[4], of_block[5], strict=True)))
        wanted, known = np.frombuffer(labels, np.int64), np.array(list(numbers.values()), np.int64)
        if not np.isin(wanted, known).all():
            raise LedgerError(
                "The ledger is damaged: an image is of a class that it does not have.", hint=DAMAGED
            )
        order = np.argsort(known)
        places = order[np.searchsorted(known, wanted, sorter=order)]
        return cls(
            np.frombuffer(ids, np.int64),
            paths.column(),
            list(numbers),
            places.astype(np.int32),
            digests.column(),
            np.frombuffer(sizes, np.int64).astype(np.int32).reshape(-1, 2),
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """An image that cannot be used, and why."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class ClassSize:
    name: str
    images: int
    """Readable."""
    different: int
    """How many different contents they have."""


@dataclass(frozen=True, slots=True)
class Totals:
    images: int
    """Readable."""
    classes: int
    """With readable images."""
    problems: int
    """Images that cannot be used."""


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What the last scan saw at a path."""

    path: str
    label: str
    digest: str
    problem: str | None
    """Why it cannot be used."""


_SOURCE = ("id", "path", "?", "size", "mtime_ns", "digest")
"""The columns of a Source; its label is known."""

UNREAD = -1
"""In place of the modification time where the file system failed: no file has it, so the next scan reads again."""


def known_files(ledger: Ledger, label: str, *, max_pixels: int) -> Iterator[list[tuple[str, int, int]]]:
    """The files of a class that are not gone, by path, in blocks: each as a tuple that equals its File, for to make a million
    Files takes as long as to compare them.

    What was refused for its size, and would not be under this limit, has UNREAD as its time.
    """
    mtime_ns = "iif(state = 'problem' AND width * height BETWEEN 1 AND ?, ?, mtime_ns)"
    return _of_class(ledger, label, ("path", "size", mtime_ns), max_pixels, UNREAD)


def _of_class(
    ledger: Ledger, label: str, columns: tuple[str, ...], *values: object
) -> Iterator[list[tuple[Any, ...]]]:
    """These columns of the images of a class that are not gone, by path, in blocks; `values` are what stands for "?".

    Between two blocks no query is open: while somebody looks at a million files, a training is to record its results.
    """
    (after, end), at = _paths_of(label), columns.index("path")
    query = (
        f"SELECT {', '.join(columns)} FROM images WHERE path > ? AND path < ? AND state != 'gone'"
        f" ORDER BY path LIMIT {BLOCK}"
    )
    while rows := ledger.rows(query, (*values, after, end)).fetchall():
        yield rows
        if not rows[-1][at] > after:  # an index that leads round in a circle
            raise LedgerError(f"The ledger is damaged: the images of {label} are not in order.", hint=DAMAGED)
        after = rows[-1][at]


def _paths_of(label: str) -> tuple[str, str]:
    """What the paths of a class's images lie between."""
    return f"{label}/", f"{label}0"  # "0" is what follows "/"


def digests(ledger: Ledger, paths: Iterable[str]) -> dict[str, str]:
    """Path -> digest, of those of the paths that are known, not gone, and were read."""
    found = {}
    for path in paths:
        digest = ledger.value("SELECT digest FROM images WHERE path = ? AND state != 'gone'", (path,))
        if digest:
            found[path] = digest
    return found


def dimensions(ledger: Ledger, images: Iterable[int]) -> NDArray[np.int64]:
    """Width and height of images by their numbers, shape (n, 2)."""
    found = [
        ledger.rows("SELECT width, height FROM images WHERE id = ?", (image,)).fetchone() for image in images
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def numbers(ledger: Ledger, paths: Iterable[str]) -> dict[str, int]:
    """Path -> number, of those that there ever were, in their order."""
    found = {}
    for path in paths:
        number = ledger.value("SELECT id FROM images WHERE path = ?", (path,))
        if number is not None:
            found[path] = number
    return found


def record_classes(ledger: Ledger, names: Iterable[str]) -> None:
    """Adds the classes that are not there yet."""
    with ledger.write() as db:
        db.executemany("INSERT OR IGNORE INTO classes (name) VALUES (?)", ((name,) for name in names))


def record_contents(ledger: Ledger, contents: Iterable[Content]) -> None:
    """Adds or updates images, in one transaction."""
    with ledger.write() as db:
        db.executemany(
            """
            INSERT INTO images (path, class, size, mtime_ns, digest, width, height, mode, state, problem)
            VALUES (?, (SELECT id FROM classes WHERE name = ?), ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (path) DO UPDATE SET
                class = excluded.class, size = excluded.size, mtime_ns = excluded.mtime_ns,
                digest = excluded.digest, width = excluded.width, height = excluded.height,
                mode = excluded.mode, state = excluded.state, problem = excluded.problem
            """,
            (_row(content) for content in contents),
        )


def record_gone(ledger: Ledger, paths: Iterable[str]) -> None:
    """Marks images whose files are no longer there. Their predictions stay."""
    with ledger.write() as db:
        db.executemany("UPDATE images SET state = 'gone' WHERE path = ?", ((path,) for path in paths))


def readable(ledger: Ledger) -> Columns:
    """The images that can be trained on."""
    return Columns.of(
        ledger,
        ledger.rows(
            "SELECT id, path, class, digest, width, height FROM images WHERE state = 'ok' ORDER BY id"
        ),
    )


def present(ledger: Ledger) -> Iterator[Source]:
    """Every image that is not gone, readable or not, sorted by path; one by one, for there may be millions."""
    for label in sorted(class_names(ledger), key=class_order):
        for rows in _of_class(ledger, label, _SOURCE, label):
            yield from map(Source._make, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Readable(Mapping[str, Iterator[Source]]):
    """Class -> its images that the last scan could read, by path, read anew each time; the classes in the order of their paths."""

    ledger: Ledger
    labels: Sequence[str]

    @classmethod
    def of(cls, ledger: Ledger) -> Readable:
        return cls(ledger, sorted(class_names(ledger), key=class_order))

    def __getitem__(self, label: str) -> Iterator[Source]:
        if label not in self.labels:
            raise KeyError(label)
        blocks = _of_class(self.ledger, label, _SOURCE, label)
        return (one for rows in blocks for one in map(Source._make, rows) if one.mtime_ns != UNREAD)

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)


def unread(ledger: Ledger) -> list[str]:
    """Paths of the images that the file system did not let the last scan read."""
    found = ledger.rows(
        "SELECT path FROM images WHERE mtime_ns = ? AND state != 'gone' ORDER BY path", (UNREAD,)
    )
    return [path for (path,) in found]


def any_present(ledger: Ledger) -> bool:
    return bool(ledger.value("SELECT EXISTS (SELECT 1 FROM images WHERE state != 'gone')"))


def count_present(ledger: Ledger) -> int:
    count: int = ledger.value("SELECT count(*) FROM images WHERE state != 'gone'")
    return count


def problems(ledger: Ledger) -> list[Problem]:
    """The images that cannot be used, by path."""
    found = ledger.rows("SELECT path, problem FROM images WHERE state = 'problem' ORDER BY path")
    return [Problem(*row) for row in found]


def class_sizes(ledger: Ledger, view: ClassView | None = None) -> list[ClassSize]:
    """Every class there ever was, by name; of one that is gone there are 0 images. With a view the
    classes that are trained, without those that have no images."""
    if view is None:
        return [_size(ledger, label, [label]) for label in class_names(ledger)]
    parts: dict[str, list[str]] = defaultdict(list)
    for label, trained in view.classes.items():
        if trained is not None:
            parts[trained].append(label)
    sizes = (_size(ledger, trained, labels) for trained, labels in sorted(parts.items()))
    return [size for size in sizes if size.images]


def _size(ledger: Ledger, name: str, labels: Iterable[str]) -> ClassSize:
    """Of the images of these labels together. Different contents are counted here: by SQLite it took three times as long."""
    digests = DigestWriter()
    for label in labels:
        rows = ledger.rows(
            "SELECT digest FROM images WHERE path > ? AND path < ? AND state = 'ok'", _paths_of(label)
        )
        understood(digests.extend, (digest for (digest,) in rows))
    column = digests.column()
    return ClassSize(name, len(column), int(numbered(column).max(initial=-1)) + 1)


def totals(ledger: Ledger) -> Totals:
    """How much there is at the last scan, counted without a row for each."""
    found = ledger.rows(
        """
        SELECT count(*) FILTER (WHERE state = 'ok'), count(DISTINCT iif(state = 'ok', class, NULL)),
            count(*) FILTER (WHERE state = 'problem')
        FROM images
        """
    )
    return Totals(*found.fetchone())


def class_names(ledger: Ledger) -> list[str]:
    """Every class there ever was, by name."""
    return [name for (name,) in ledger.rows("SELECT name FROM classes ORDER BY name")]


def class_numbers(ledger: Ledger) -> dict[str, int]:
    """Class -> its number in the ledger."""
    return dict(ledger.rows("SELECT name, id FROM classes").fetchall())


def paths(ledger: Ledger, images: Sequence[int]) -> list[str | None]:
    """Where the images of these numbers lie; None where there never was one."""
    found = ledger.rows(
        "SELECT id, path FROM images WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(images),)
    )
    known = dict(found.fetchall())
    return [known.get(image) for image in images]


def find(ledger: Ledger, path: str) -> KnownImage | None:
    """The image at this path of the dataset."""
    row = ledger.rows(
        """
        SELECT path, classes.name, digest, iif(state = 'problem', problem, NULL)
        FROM images JOIN classes ON classes.id = class WHERE path = ? AND state != 'gone'
        """,
        (path,),
    ).fetchone()
    return KnownImage(*row) if row else None


def _row(content: Content) -> tuple[object, ...]:
    file = content.file
    return (
        file.path,
        file.label,
        file.size,
        UNREAD if content.retry else file.mtime_ns,
        content.digest,
        content.width,
        content.height,
        content.mode,
        ImageState.PROBLEM if content.problem else ImageState.OK,
        content.problem,
    )
