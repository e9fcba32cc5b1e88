"""What the verdicts of a round found, by score: what `dupekit.rounds.yields` estimates from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupekit.ledger.database import Ledger, as_columns
from dupekit.review.verdicts import Verdict
from dupekit.rounds.rules import Rule
from dupekit.rounds.yields import Decided


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The images of a round, as far as they count; in no order. Unsure ones, those on the ignore list from before, and those that
    an identical one contradicts, do not: of these it is not the score that makes one wrong."""

    reviewed: Decided
    audit: Decided
    undecided: NDArray[np.float64]
    """Scores of the suspects without a verdict that wait for a batch."""
    out: NDArray[np.float64]
    """... that lie in a tree that was not called back."""
    unsuspected: NDArray[np.float64]
    """... of all others without one."""


def decided(ledger: Ledger, round_number: int) -> int:
    """How many images have a verdict other than unsure."""
    count: int = ledger.value(
        "SELECT count(*) FROM current_verdicts WHERE round = ? AND verdict != ?",
        (round_number, Verdict.UNSURE),
    )
    return count


def findings(ledger: Ledger, round_number: int, rule: Rule) -> Findings:
    """Reads a number or two of every image of the round."""
    verdicts = np.array(
        ledger.rows(
            """
            SELECT image, CASE WHEN verdict = ? THEN -1 ELSE verdict IN (?, ?) END FROM current_verdicts
            WHERE round = ? ORDER BY image
            """,
            (Verdict.UNSURE, Verdict.RELABEL, Verdict.EXPUNGE, round_number),
        ).fetchall(),
        np.int64,
    ).reshape(-1, 2)
    exported = "SELECT image FROM exported_files JOIN exports ON exports.id = export WHERE round = ? AND"
    audit, out = (
        np.array(
            [image for (image,) in ledger.rows(f"{exported} {which} IS {what}", (round_number,))], np.int64
        )
        for which, what in (("stratum", "NOT NULL"), ("withdrawn", "NULL"))
    )
    rows = ledger.rows(
        """
        SELECT image, votes, score, images.state = 'ok' AND images.digest = tallies.digest
            AND CASE WHEN (tallies.digest, g.name) IN (SELECT digest, label FROM ignores) THEN 0 ELSE 1 END
        FROM tallies JOIN images ON images.id = image JOIN classes AS g ON g.id = given WHERE round = ?
            AND NOT contradicted
        """,
        (round_number,),
    )
    image, votes, score, showable = as_columns(rows, "i8, i8, f8, ?")
    suspect = rule.flags(votes, score, np.zeros(len(score), bool))
    of_audit, is_out = np.isin(image, audit), np.isin(image, out)
    has_verdict = np.isin(image, verdicts[:, 0])
    said = np.full(len(image), -1)
    if has_verdict.any():
        said[has_verdict] = verdicts[np.searchsorted(verdicts[:, 0], image[has_verdict]), 1]
    sure = said >= 0
    free = ~has_verdict & showable
    return Findings(
        Decided(score[sure & ~of_audit], said[sure & ~of_audit] == 1),
        Decided(score[sure & of_audit], said[sure & of_audit] == 1),
        score[free & suspect & ~is_out],
        score[free & suspect & is_out],
        score[free & ~suspect],
    )
