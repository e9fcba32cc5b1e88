"""Tables `exports` and `exported_files`: which review trees went out, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dupekit.ledger.database import Ledger
from dupekit.system.stamp import now


@dataclass(frozen=True, slots=True)
class Export:
    number: int
    round: int
    key: str
    tree: str
    """Where it was written: absolute, escaped."""
    created: str


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """What the ledger knows of a file in a review tree."""

    original: str
    """Its path in the dataset."""
    given: str
    digest: str | None
    """When the round was counted; like the following, None where it is not counted any more."""
    suggested: str | None
    """As counted last."""
    votes: int | None


_EXPORT = "SELECT id, round, key, tree, created FROM exports"


def record(ledger: Ledger, *, round_number: int, key: str, tree: str, files: Mapping[str, int]) -> None:
    """Records an export; `files` maps paths in the tree to the ledger's numbers of the images."""
    with ledger.write() as db:
        number = db.execute(
            "INSERT INTO exports (round, key, tree, created) VALUES (?, ?, ?, ?)",
            (round_number, key, tree, now()),
        ).lastrowid
        db.executemany(
            "INSERT INTO exported_files VALUES (?, ?, ?)",
            [(number, path, image) for path, image in files.items()],
        )


def forget(ledger: Ledger, key: str) -> None:
    """Takes back the record of an export whose tree nobody has seen; nothing where there is none, or it was collected."""
    found = by_key(ledger, key)
    if found and not ledger.value("SELECT 1 FROM collections WHERE export = ?", (found.number,)):
        with ledger.write() as db:
            db.execute("DELETE FROM exported_files WHERE export = ?", (found.number,))
            db.execute("DELETE FROM exports WHERE id = ?", (found.number,))


def of_round(ledger: Ledger, round_number: int) -> list[Export]:
    """The round's exports, in order."""
    found = ledger.rows(f"{_EXPORT} WHERE round = ? ORDER BY id", (round_number,))
    return [Export(*row) for row in found]


def by_key(ledger: Ledger, key: str) -> Export | None:
    row = ledger.rows(f"{_EXPORT} WHERE key = ?", (key,)).fetchone()
    return Export(*row) if row else None


def numbers(ledger: Ledger, export: int) -> dict[str, int]:
    """Path in the tree -> the ledger's number of the image."""
    return dict(ledger.rows("SELECT path, image FROM exported_files WHERE export = ?", (export,)).fetchall())


def files(ledger: Ledger, export: int) -> dict[str, ExportedImage]:
    """Path in the tree -> what is known of the image."""
    found = ledger.rows(
        """
        SELECT f.path, images.path, g.name, t.digest, s.name, t.votes FROM exported_files AS f
        JOIN exports ON exports.id = f.export
        JOIN images ON images.id = f.image
        JOIN classes AS g ON g.id = images.class
        LEFT JOIN tallies AS t ON t.round = exports.round AND t.image = f.image
        LEFT JOIN classes AS s ON s.id = t.suggested
        WHERE f.export = ?
        """,
        (export,),
    )
    return {path: ExportedImage(*rest) for path, *rest in found}
