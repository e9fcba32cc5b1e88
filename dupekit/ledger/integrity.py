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
