"""The ignore list: what current verdicts confirm, and what was added or removed by hand.

It is not stored but follows, in the view `ignores`, from the verdicts that were not undone and from the table
`ignore_edits`. For a content under a label the last edit counts; a removal covers the verdicts recorded before
it, so a newer one puts the image on the list again.
"""

from __future__ import annotations

from collections.abc import Iterable

from dupekit.ledger.database import Ledger
from dupekit.review.ignore_list import Ignored
from dupekit.system.stamp import now


def ignores(ledger: Ledger) -> list[Ignored]:
    """The ignore list, by label and path."""
    found = ledger.rows("SELECT digest, label, path, added FROM ignores ORDER BY label, path, digest")
    return [Ignored(*row) for row in found]


def count(ledger: Ledger) -> int:
    """How many entries the ignore list has."""
    found: int = ledger.value("SELECT count(*) FROM ignores")
    return found


def add(ledger: Ledger, entries: Iterable[Ignored]) -> int:
    """Adds by hand what is not on the list, as of now; returns how many that were."""
    return _edit(ledger, entries, "added")


def remove(ledger: Ledger, entries: Iterable[Ignored]) -> int:
    """Removes by hand what is on the list; returns how many that were."""
    return _edit(ledger, entries, "removed")


def _edit(ledger: Ledger, entries: Iterable[Ignored], kind: str) -> int:
    with ledger.write() as db:
        listed = set(db.execute("SELECT digest, label FROM ignores"))
        wanted = {(entry.digest, entry.label): entry for entry in entries}
        made = [entry for key, entry in wanted.items() if (key in listed) == (kind == "removed")]
        db.executemany(
            """
            INSERT INTO ignore_edits (digest, label, path, kind, at, round, verdict) VALUES (?, ?, ?, ?, ?,
                coalesce((SELECT max(id) FROM rounds), 0), coalesce((SELECT max(id) FROM verdicts), 0))
            """,
            [(entry.digest, entry.label, entry.path, kind, now()) for entry in made],
        )
    return len(made)
