"""What the verdicts of a round found, by score: what `dupekit.rounds.yields` estimates from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dupekit.ledger import tallies
from dupekit.ledger.database import Ledger, as_columns
from dupekit.ledger.tallies import SAME, by_rule
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
    decided = ledger.rows(
        """
        SELECT score, v.verdict IN (?, ?), v.image IN (SELECT image FROM exported_files JOIN exports ON exports.id = export
            WHERE exports.round = ? AND stratum IS NOT NULL)
        FROM current_verdicts AS v CROSS JOIN tallies ON tallies.round = v.round AND tallies.image = v.image
        WHERE v.round = ? AND v.verdict != ? AND NOT contradicted
        """,
        (Verdict.RELABEL, Verdict.EXPUNGE, round_number, round_number, Verdict.UNSURE),
    )
    # Of each image as little as can be; which ones do not count is told from lists, which are short.
    rows = ledger.rows(
        f"""
        SELECT image, score, {by_rule(rule)} FROM tallies CROSS JOIN images ON images.id = image
        WHERE round = ? AND NOT contradicted AND {SAME}
        """,
        (round_number,),
    )
    score, wrong, audit = as_columns(decided, "f8, ?, ?")
    image, left, suspect = as_columns(rows, "i8, f8, ?")
    has_verdict = ledger.rows("SELECT image FROM current_verdicts WHERE round = ?", (round_number,))
    out = ledger.rows(
        "SELECT image FROM exported_files JOIN exports ON exports.id = export WHERE round = ? AND withdrawn IS NULL",
        (round_number,),
    )
    counts = ~np.isin(image, [*chain.from_iterable(has_verdict), *tallies.ignored(ledger, round_number)])
    is_out = np.isin(image, [*chain.from_iterable(out)])
    return Findings(
        Decided(score[~audit], wrong[~audit]),
        Decided(score[audit], wrong[audit]),
        left[counts & suspect & ~is_out],
        left[counts & suspect & is_out],
        left[counts & ~suspect],
    )
