"""Results: what a round knows of each image, from the tables of tallies, verdicts and the ignore list."""

from __future__ import annotations

from collections.abc import Iterator

from dupekit.exchange.results import ResultRow
from dupekit.ledger.database import Ledger
from dupekit.ledger.tallies import IGNORED, MOST_SUSPICIOUS_FIRST
from dupekit.review.verdicts import Verdict


def results(ledger: Ledger, round_number: int) -> Iterator[ResultRow]:
    """Every image of a round, most suspicious first; one by one, for there may be millions."""
    rows = ledger.rows(
        f"""
        SELECT path, g.name, s.name, votes, predictions, score, p_given, p_suggested, v.verdict,
            CASE v.verdict WHEN '{Verdict.RELABEL}' THEN v.label WHEN '{Verdict.EXPUNGE}' THEN NULL ELSE g.name END, {IGNORED},
            contradicted
        FROM tallies
        CROSS JOIN images ON images.id = tallies.image
        CROSS JOIN classes AS g ON g.id = given
        CROSS JOIN classes AS s ON s.id = suggested
        LEFT JOIN current_verdicts AS v ON v.round = tallies.round AND v.image = tallies.image
        WHERE tallies.round = ? {MOST_SUSPICIOUS_FIRST}
        """,
        (round_number,),
    )
    for row in rows:
        found = dict(zip(ResultRow.__slots__, row, strict=True))
        found |= {name: bool(found[name]) for name in ("ignored", "contradicted")}
        yield ResultRow(**found)


def count(ledger: Ledger, round_number: int) -> int:
    found: int = ledger.value("SELECT count(*) FROM tallies WHERE round = ?", (round_number,))
    return found
