"""What was decided and may be shown once more: for a second opinion, or to decide what two people dispute."""

from __future__ import annotations

from collections.abc import Collection

from dupekit.ledger.database import Ledger
from dupekit.ledger.exports import Purpose
from dupekit.review.verdicts import Verdict


def to_decide(ledger: Ledger, round_number: int, verdicts: Collection[Verdict]) -> list[int]:
    """The images of a round with one of these verdicts that nobody was asked about again, by number."""
    listed = ", ".join("?" * len(verdicts))
    return _asked_in_no(Purpose.SECOND, ledger, round_number, f"verdict IN ({listed})", *verdicts)


def disputed(ledger: Ledger, round_number: int) -> list[int]:
    """The images of a round that two people judged differently and that lie in no tree to decide it, by number."""
    return _asked_in_no(Purpose.DECISION, ledger, round_number, "disputed")


def _asked_in_no(
    purpose: Purpose, ledger: Ledger, round_number: int, condition: str, *values: str
) -> list[int]:
    found = ledger.rows(
        f"""
        SELECT image FROM current_verdicts WHERE round = ? AND {condition} AND image NOT IN (
            SELECT image FROM exported_files JOIN exports ON exports.id = export
            WHERE exports.round = ? AND purpose = ? AND withdrawn IS NULL)
        ORDER BY image
        """,
        (round_number, *values, round_number, purpose),
    )
    return [image for (image,) in found]
