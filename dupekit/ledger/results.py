"""Results: what a round knows of each image, from the tables of tallies, verdicts and the ignore list."""

from __future__ import annotations

from collections.abc import Iterator

from dupekit.exchange.results import ResultRow
from dupekit.ledger.database import Ledger
from dupekit.ledger.tallies import IGNORED, MOST_SUSPICIOUS_FIRST
from dupekit.review.verdicts import Verdict


def results(ledger: Ledger, round_number: int) -> Iterator[ResultRow]:
    """Every image of a round, most suspicious first; one by one, for there may be millions."""
    # Not joined: SQLite would go through all of them for every image.
    decided = {
        image: (verdict, label)
        for image, verdict, label in ledger.rows(
            "SELECT image, verdict, label FROM current_verdicts WHERE round = ?", (round_number,)
        )
    }
    rows = ledger.rows(
        f"""
        SELECT tallies.image, path, g.name, s.name, votes, predictions, score, p_given, p_suggested, {IGNORED}, contradicted
        FROM tallies
        CROSS JOIN images ON images.id = tallies.image
        CROSS JOIN classes AS g ON g.id = given
        CROSS JOIN classes AS s ON s.id = suggested
        WHERE tallies.round = ? {MOST_SUSPICIOUS_FIRST}
        """,
        (round_number,),
    )
    for image, path, given, *told, ignored, contradicted in rows:
        verdict, label = decided.get(image, (None, given))
        after = {Verdict.RELABEL: label, Verdict.EXPUNGE: None}.get(verdict, given)
        values = (path, given, *told, verdict, after, bool(ignored), bool(contradicted))
        yield ResultRow(*values)


def count(ledger: Ledger, round_number: int) -> int:
    found: int = ledger.value("SELECT count(*) FROM tallies WHERE round = ?", (round_number,))
    return found
