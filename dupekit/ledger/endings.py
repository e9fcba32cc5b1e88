"""Table `endings`: rounds that `dupekit next` ended, and on which datasets they and the next ones are.

An ending is recorded before anything else is done, so one whose round is open was cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.ledger.database import Ledger
from dupekit.system.stamp import now


@dataclass(frozen=True, slots=True)
class Ending:
    """One that was not taken back."""

    number: int
    round: int
    at: str
    before: str
    """The setting `dataset` of the round that ended: escaped."""
    dataset: str | None
    """... and of the next; None where an older dupekit recorded none."""


def of_round(ledger: Ledger, round_number: int) -> Ending | None:
    """The ending of a round; None where nobody ended it, or that was taken back."""
    row = ledger.rows(
        "SELECT id, round, at, before, dataset FROM endings WHERE round = ? AND undone IS NULL",
        (round_number,),
    ).fetchone()
    return row and Ending(*row)


def begin(ledger: Ledger, round_number: int, *, who: str, before: str, dataset: str) -> None:
    """Records that a round is being ended; of one that was cut off, where it was to go instead."""
    with ledger.write() as db:
        found = db.execute(
            "UPDATE endings SET dataset = ?, who = ?, at = ? WHERE round = ? AND undone IS NULL",
            (dataset, who, now(), round_number),
        )
        if not found.rowcount:
            db.execute(
                "INSERT INTO endings (round, at, who, before, dataset, collection, application) VALUES (?, ?, ?, ?, ?,"
                " (SELECT max(id) FROM collections), (SELECT max(id) FROM applications))",
                (round_number, now(), who, before, dataset),
            )


def take_back(ledger: Ledger, ending: Ending) -> None:
    """The round goes on."""
    with ledger.write() as db:
        db.execute("UPDATE endings SET undone = ? WHERE id = ?", (now(), ending.number))
        db.execute("UPDATE rounds SET closed = NULL WHERE id = ?", (ending.round,))
