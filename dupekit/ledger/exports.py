"""Tables `exports` and `exported_files`: which review trees went out, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dupekit.ledger.database import Ledger, understood
from dupekit.system.stamp import now


class Purpose(StrEnum):
    """What a tree was exported for."""

    REVIEW = "review"
    SECOND = "second"
    """A second opinion on what was decided."""
    DECISION = "decision"
    """To decide what two opinions dispute."""


@dataclass(frozen=True, slots=True)
class Export:
    number: int
    round: int
    key: str
    tree: str
    """Where it was written: absolute, escaped."""
    created: str
    purpose: Purpose
    withdrawn: str | None
    """When it was called back."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the ledger keeps of a file that goes out."""

    image: int
    """The ledger's number."""
    stratum: int | None = None
    """Of an image of the audit: which stratum of scores it was drawn from."""
    population: int | None = None
    """... and how many images that stratum had."""


@dataclass(frozen=True, slots=True)
class Out:
    """A tree that was not withdrawn, and how far it is decided as the ledger knows it."""

    export: Export
    images: int
    decided: int
    """With a verdict from a tree of its purpose, or from one that decides."""
    open: int
    """The others."""
    place: str
    """From where it was collected last, else where it was written: absolute, escaped."""


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
    stratum: int | None
    population: int | None


_EXPORT = "SELECT id, round, key, placed(tree), created, purpose, withdrawn FROM exports"


def record(
    ledger: Ledger,
    *,
    round_number: int,
    key: str,
    tree: str,
    files: Mapping[str, FileRecord],
    purpose: Purpose = Purpose.REVIEW,
) -> None:
    """Records an export; `files` by their paths in the tree."""
    with ledger.write() as db:
        number = db.execute(
            "INSERT INTO exports (round, key, tree, created, purpose) VALUES (?, ?, ?, ?, ?)",
            (round_number, key, ledger.as_recorded(tree), now(), purpose),
        ).lastrowid
        db.executemany(
            "INSERT INTO exported_files (export, path, image, stratum, population) VALUES (?, ?, ?, ?, ?)",
            [(number, path, f.image, f.stratum, f.population) for path, f in files.items()],
        )


def withdraw(ledger: Ledger, export: int) -> None:
    """Records that a tree was called back: what is undecided in it may go out again."""
    with ledger.write() as db:
        db.execute("UPDATE exports SET withdrawn = ? WHERE id = ? AND withdrawn IS NULL", (now(), export))


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
    return [_export(*row) for row in found]


def out(ledger: Ledger, round_number: int) -> list[Out]:
    """The round's trees that were not withdrawn, in order."""
    # Lists, which SQLite works out once: joined, it went through all opinions for every file.
    decided = "f.image IN (SELECT image FROM opinions WHERE round = ?1 AND coalesce({}) IS NOT NULL)"
    counts = ledger.rows(
        f"""
        SELECT export, count(*), sum(CASE purpose WHEN '{Purpose.REVIEW}' THEN {decided.format("decision, review")}
            WHEN '{Purpose.SECOND}' THEN {decided.format("decision, second")} ELSE {decided.format("decision, NULL")} END)
        FROM exports JOIN exported_files AS f ON f.export = exports.id
        WHERE round = ?1 AND withdrawn IS NULL GROUP BY export
        """,
        (round_number,),
    )
    found = {export: (images, decided, images - decided) for export, images, decided in counts}
    return [
        Out(one, *found[one.number], place(ledger, one))
        for one in of_round(ledger, round_number)
        if one.number in found
    ]


def place(ledger: Ledger, export: Export) -> str:
    """From where a tree was collected last, else where it was written: absolute, escaped."""
    collected = ledger.value(
        "SELECT placed(tree) FROM collections WHERE export = ? AND undone IS NULL AND tree != '' ORDER BY id DESC",
        (export.number,),
    )
    return collected or export.tree


def last_at(ledger: Ledger, place: str) -> Export | None:
    """The last tree that was written to this place."""
    row = ledger.rows(f"{_EXPORT} WHERE placed(tree) = ? ORDER BY id DESC", (place,)).fetchone()
    return _export(*row) if row else None


def by_key(ledger: Ledger, key: str) -> Export | None:
    row = ledger.rows(f"{_EXPORT} WHERE key = ?", (key,)).fetchone()
    return _export(*row) if row else None


def _export(
    number: int, round_number: int, key: str, tree: str, created: str, purpose: str, withdrawn: str | None
) -> Export:
    return Export(number, round_number, key, tree, created, understood(Purpose, purpose), withdrawn)


def numbers(ledger: Ledger, export: int) -> dict[str, int]:
    """Path in the tree -> the ledger's number of the image."""
    return dict(ledger.rows("SELECT path, image FROM exported_files WHERE export = ?", (export,)).fetchall())


def files(ledger: Ledger, export: int) -> dict[str, ExportedImage]:
    """Path in the tree -> what is known of the image."""
    found = ledger.rows(
        """
        SELECT f.path, images.path, g.name, t.digest, s.name, t.votes, stratum, population FROM exported_files AS f
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
