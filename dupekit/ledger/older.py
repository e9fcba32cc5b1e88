"""What a ledger of an older dupekit holds that this one leaves to files: read before it is migrated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dupekit.ledger.database import Ledger
from dupekit.review.event_log import Event


@dataclass(frozen=True, slots=True)
class OldExport:
    """What every version of the ledger has of an export."""

    number: int
    round: int
    key: str


def exports(ledger: Ledger) -> list[OldExport]:
    """All, in order."""
    return [OldExport(*row) for row in ledger.rows("SELECT id, round, key FROM exports ORDER BY id")]


def events(ledger: Ledger, export: int) -> Iterator[Event]:
    """What was seen to happen in the tree of an export, in order; since version 5 the ledger holds none."""
    columns = {name for _, name, *_ in ledger.rows("PRAGMA table_info(events)")}
    if not columns:
        return
    from_tree = "source = 'tree'" if "source" in columns else "0"
    found = ledger.rows(
        f"SELECT at, kind, path, target, {from_tree} FROM events WHERE export = ? ORDER BY id", (export,)
    )
    for at, kind, path, target, from_tree in found:
        yield Event(at, kind, path or None, target or None, bool(from_tree))
