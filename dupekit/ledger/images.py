"""Tables `classes` and `images`: the dataset as the last scan saw it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.scan import Content, File
from dupekit.ledger import Ledger


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The readable images, as columns sorted by `ids`."""

    ids: NDArray[np.int64]
    paths: list[str]
    labels: list[str]
    digests: list[str]
    sizes: NDArray[np.int32]
    """Shape (n, 2): width and height."""

    @classmethod
    def of(cls, rows: Sequence[tuple[int, str, str, str, int, int]]) -> Columns:
        """Of rows of number, path, label, digest, width and height."""
        return cls(
            np.array([row[0] for row in rows], np.int64),
            [row[1] for row in rows],
            [row[2] for row in rows],
            [row[3] for row in rows],
            np.array([row[4:] for row in rows], np.int32).reshape(-1, 2),
        )


UNREAD = -1
"""In place of the modification time where the file system failed: no file has it, so the next scan reads again."""


def known_files(ledger: Ledger, *, max_pixels: int) -> dict[str, tuple[int, int]]:
    """Path -> size and modification time of every image that is not gone.

    What was refused for its size, and would not be under this limit, has UNREAD as its time.
    """
    return {
        path: (size, mtime_ns)
        for path, size, mtime_ns in ledger.rows(
            """
            SELECT path, size,
                CASE WHEN state = 'problem' AND width * height BETWEEN 1 AND ? THEN ? ELSE mtime_ns END
            FROM images WHERE state != 'gone'
            """,
            (max_pixels, UNREAD),
        )
    }


def digests(ledger: Ledger, paths: Iterable[str]) -> dict[str, str]:
    """Path -> digest, of those of the paths that are known, not gone, and were read."""
    found = {}
    for path in paths:
        digest = ledger.value("SELECT digest FROM images WHERE path = ? AND state != 'gone'", (path,))
        if digest:
            found[path] = digest
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
    rows = ledger.rows(
        """
        SELECT images.id, path, classes.name, digest, width, height
        FROM images JOIN classes ON classes.id = class WHERE state = 'ok' ORDER BY images.id
        """
    ).fetchall()
    return Columns.of(rows)


def present(ledger: Ledger) -> list[tuple[int, File, str]]:
    """Every image that is not gone, readable or not: number, file and digest, sorted by path."""
    rows = ledger.rows(
        """
        SELECT images.id, path, classes.name, size, mtime_ns, digest
        FROM images JOIN classes ON classes.id = class WHERE state != 'gone' ORDER BY path
        """
    )
    return [(row[0], File(row[1], row[2], row[3], row[4]), row[5]) for row in rows]


def problems(ledger: Ledger) -> list[tuple[str, str]]:
    """Path and problem of each image that cannot be used."""
    return ledger.rows("SELECT path, problem FROM images WHERE state = 'problem' ORDER BY path").fetchall()


def class_sizes(ledger: Ledger) -> list[tuple[str, int, int]]:
    """Class, readable images, and how many different contents they have; classes gone are left out."""
    return ledger.rows(
        """
        SELECT name, count(images.id), count(DISTINCT digest) FROM classes
        LEFT JOIN images ON class = classes.id AND state = 'ok'
        GROUP BY classes.id ORDER BY name
        """
    ).fetchall()


def class_numbers(ledger: Ledger) -> dict[str, int]:
    """Class -> its number in the ledger."""
    return dict(ledger.rows("SELECT name, id FROM classes").fetchall())


def find(ledger: Ledger, path: str) -> tuple[int, str, str] | None:
    """Number, digest and given label of the image at this path of the dataset."""
    row: tuple[int, str, str] | None = ledger.rows(
        """
        SELECT images.id, digest, classes.name FROM images JOIN classes ON classes.id = class
        WHERE path = ? AND state != 'gone'
        """,
        (path,),
    ).fetchone()
    return row


def problem_of(ledger: Ledger, path: str) -> str:
    """Why the image at this path cannot be used; empty where it can."""
    return ledger.value("SELECT problem FROM images WHERE path = ? AND state = 'problem'", (path,)) or ""


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
        "problem" if content.problem else "ok",
        content.problem,
    )
