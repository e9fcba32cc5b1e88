"""How the rounds converge: the suspects of each, and how much of it people accepted.

An image counts as reviewed when it has a verdict that stands, as accepted when that is relabel or expunge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dupekit.ledger import rounds, tallies
from dupekit.ledger.database import Ledger
from dupekit.ledger.rounds import Round
from dupekit.review.verdicts import Verdict
from dupekit.rounds.rules import Rule


@dataclass(frozen=True, slots=True)
class RoundFigures:
    round: int
    images: int
    pairs: int
    """Complete, and counted in the votes."""
    rule: Rule
    suspects: int
    """By that rule, without what earlier rounds had put on the ignore list."""
    reviewed: int
    accepted: int
    share: float | None
    """Accepted of reviewed; None where nothing is reviewed."""
    ignored: int
    """Entries of today's ignore list that came onto it up to this round's end."""


@dataclass(frozen=True, slots=True)
class PairShare:
    """Of the reviewed images of a given and a suggested label, how many were accepted."""

    given: str
    suggested: str
    reviewed: int
    accepted: int
    share: float


@dataclass(frozen=True, slots=True)
class VoteShare:
    """The same for a number of votes."""

    votes: int
    reviewed: int
    accepted: int
    share: float


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What people made of one round's suggestions."""

    round: int
    by_votes: list[VoteShare]
    """Most votes first."""
    by_pair: list[PairShare]
    """The most frequent first."""


def by_round(ledger: Ledger, rule_of: Callable[[Round], Rule]) -> list[RoundFigures]:
    """One row a round, from the first to the last begun, reviewed or not."""
    found = ledger.rows(
        """
        SELECT id, coalesce(reviewed, 0), coalesce(accepted, 0), 1.0 * accepted / reviewed, coalesce(sum(entries), 0)
        FROM rounds LEFT JOIN (
            SELECT round, count(*) AS reviewed, sum(verdict IN (?, ?)) AS accepted
            FROM current_verdicts GROUP BY round
        ) AS decided ON decided.round = rounds.id
        LEFT JOIN (SELECT round, count(*) AS entries FROM ignores GROUP BY round) AS listed ON listed.round <= rounds.id
        GROUP BY id ORDER BY id
        """,
        (Verdict.RELABEL, Verdict.EXPUNGE),
    ).fetchall()
    figures = []
    for number, *decided in found:
        one = rounds.get(ledger, number)
        rule = rule_of(one)
        suspects = tallies.count_of_round(ledger, number, rule)
        figures.append(RoundFigures(number, one.images, one.tallied_pairs, rule, suspects, *decided))
    return figures


def acceptance(ledger: Ledger) -> Acceptance | None:
    """The shares of the last round that has verdicts; None where none has.

    Votes and suggestions are those the verdicts can be read against now: training more pairs after an export
    changes them.
    """
    number = ledger.value("SELECT max(round) FROM current_verdicts")
    if number is None:
        return None
    counted = """
        SELECT {group}, count(*) AS reviewed, sum(accepted), 1.0 * sum(accepted) / count(*) FROM (
            SELECT votes, g.name AS given, s.name AS suggested, verdict IN (?, ?) AS accepted
            FROM current_verdicts AS v
            JOIN tallies AS t ON t.round = v.round AND t.image = v.image
            JOIN classes AS g ON g.id = t.given
            JOIN classes AS s ON s.id = t.suggested
            WHERE v.round = ?
        ) GROUP BY {group} ORDER BY {order}
    """
    values = (Verdict.RELABEL, Verdict.EXPUNGE, number)
    votes = ledger.rows(counted.format(group="votes", order="votes DESC"), values)
    pairs = ledger.rows(
        counted.format(group="given, suggested", order="reviewed DESC, given, suggested"), values
    )
    return Acceptance(number, [VoteShare(*row) for row in votes], [PairShare(*row) for row in pairs])
