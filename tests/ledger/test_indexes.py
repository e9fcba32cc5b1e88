"""Every index is read by a query: what nobody reads only costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dupekit.ledger import Ledger, ignores, verdicts

QUERIES: dict[str, Callable[[Ledger], object]] = {
    "verdicts_image": lambda ledger: verdicts.counts(ledger, 1),
    "ignore_edits_content": ignores.ignores,
}


def plans(ledger: Ledger, query: Callable[[Ledger], object]) -> str:
    """What SQLite does for a function of the ledger."""
    statements: list[str] = []
    ledger.connection.set_trace_callback(statements.append)
    query(ledger)
    ledger.connection.set_trace_callback(None)
    return "\n".join(
        row[3] for statement in statements for row in ledger.rows(f"EXPLAIN QUERY PLAN {statement}")
    )


def test_every_index_is_read(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db", create=True) as ledger:
        made = {
            name
            for (name,) in ledger.rows(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE 'CREATE INDEX %'"
            )
        }
        assert made == set(QUERIES)
        for index, query in QUERIES.items():
            assert re.search(rf"USING (COVERING )?INDEX {index}\b", plans(ledger, query)), index
