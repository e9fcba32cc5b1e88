"""Is the ledger itself sound?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from dupekit.ledger.database import Ledger


@dataclass(frozen=True, slots=True)
class Fault:
    """Where something is not as it should be, and how."""

    where: str
    how: str


def faults(ledger: Ledger) -> Iterator[Fault]:
    """What SQLite finds damaged: pages and indexes, then rows that refer to none. Only reads."""
    for (message,) in ledger.rows("PRAGMA integrity_check(20)"):
        if message != "ok":
            yield Fault("integrity_check", str(message).strip())
    counts = Counter((table, parent) for table, _, parent, _ in ledger.rows("PRAGMA foreign_key_check"))
    for (table, parent), count in counts.items():
        yield Fault(table, f"{count} rows refer to missing rows of {parent}")


_MISFITS = (
    (
        "finished",
        "say of a class that there never was that it is finished",
        "SELECT count(*) FROM finished WHERE label NOT IN (SELECT name FROM classes)",
    ),
    (
        "verdicts",
        "are of an image, or a round, that their tree is not of",
        """
        SELECT count(*) FROM verdicts JOIN collections ON collections.id = collection
        WHERE (export, image, verdicts.round) NOT IN (
            SELECT export, image, exports.round FROM exported_files JOIN exports ON exports.id = export)
        """,
    ),
    (
        "rounds",
        "have ended, and no step says how",
        "SELECT count(*) FROM rounds WHERE closed IS NOT NULL AND id NOT IN (SELECT round FROM endings WHERE undone IS NULL)",
    ),
    (
        "endings",
        "stand beside another end of their round",
        "SELECT count(*) - count(DISTINCT round) FROM endings WHERE undone IS NULL",
    ),
)


def misfits(ledger: Ledger) -> Iterator[Fault]:
    """Rows that refer to rows that are there, and do not fit them. Only reads."""
    for table, how, query in _MISFITS:
        if count := ledger.value(query):
            yield Fault(table, f"{count} rows {how}")
