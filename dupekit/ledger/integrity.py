"""Is the ledger itself sound? Opens it for reading only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dupekit.ledger import Ledger


def faults(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Where and how SQLite finds the file damaged: its pages and indexes, then rows that refer to none."""
    for (message,) in ledger.rows("PRAGMA integrity_check(20)"):
        if message != "ok":
            yield "integrity_check", str(message).strip()
    counts: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in ledger.rows("PRAGMA foreign_key_check"):
        counts[table, parent] = counts.get((table, parent), 0) + 1
    for (table, parent), count in counts.items():
        yield table, f"{count} rows refer to missing rows of {parent}"


def prediction_counts(ledger: Ledger) -> dict[int, int]:
    """Run -> how many predictions the ledger has of it."""
    return dict(ledger.rows("SELECT run, count(*) FROM predictions GROUP BY run").fetchall())


def exported(ledger: Ledger, export: int) -> dict[str, tuple[str, str]]:
    """Path in the tree -> path in the dataset, and digest when the round was counted."""
    found = ledger.rows(
        """
        SELECT f.path, images.path, coalesce(t.digest, '') FROM exported_files AS f
        JOIN exports ON exports.id = f.export
        JOIN images ON images.id = f.image
        LEFT JOIN tallies AS t ON t.round = exports.round AND t.image = f.image
        WHERE f.export = ?
        """,
        (export,),
    )
    return {path: (original, digest) for path, original, digest in found}


def exported_votes(ledger: Ledger, export: int) -> dict[str, tuple[str, str, int]]:
    """Path in the tree -> given label, and suggested label and votes as counted last."""
    found = ledger.rows(
        """
        SELECT f.path, g.name, coalesce(s.name, ''), coalesce(t.votes, 0) FROM exported_files AS f
        JOIN exports ON exports.id = f.export
        JOIN images ON images.id = f.image
        JOIN classes AS g ON g.id = images.class
        LEFT JOIN tallies AS t ON t.round = exports.round AND t.image = f.image
        LEFT JOIN classes AS s ON s.id = t.suggested
        WHERE f.export = ?
        """,
        (export,),
    )
    return {path: tuple(rest) for path, *rest in found}


def image_paths(ledger: Ledger) -> dict[int, str]:
    """Number -> path of every image there ever was."""
    return dict(ledger.rows("SELECT id, path FROM images").fetchall())


def applications(ledger: Ledger) -> list[tuple[int, int, str]]:
    """Number, round and destination of every corrected dataset written, the last one first."""
    return ledger.rows("SELECT id, round, destination FROM applications ORDER BY id DESC").fetchall()


def applied_paths(ledger: Ledger, application: int) -> dict[int, str]:
    """Image -> its path in the corrected dataset, of those corrected; empty where expunged."""
    return dict(
        ledger.rows(
            "SELECT image, new_path FROM corrections WHERE application = ?", (application,)
        ).fetchall()
    )


@dataclass(frozen=True, slots=True)
class Applied:
    """A correction, and what the last scan saw where the corrected dataset has it."""

    path: str
    """In the corrected dataset; of what was expunged, where it lay before."""
    expunged: bool
    digest: str
    """Of the image that was corrected."""
    state: str | None
    """As in the table `images`; None where no scan ever saw an image of this path."""
    digest_there: str | None


def corrections(ledger: Ledger, application: int) -> list[Applied]:
    found = ledger.rows(
        """
        SELECT c.at, c.new_path = '', c.digest, images.state, images.digest
        FROM (SELECT *, iif(new_path = '', path, new_path) AS at FROM corrections) AS c
        LEFT JOIN images ON images.path = c.at
        WHERE c.application = ? ORDER BY c.at
        """,
        (application,),
    )
    return [Applied(path, bool(expunged), *rest) for path, expunged, *rest in found]
