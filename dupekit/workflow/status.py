"""Status: where a project stands."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.correct.resolve import Unapplied
from dupekit.ledger import applications, convergence, exports, ignores, images, rounds, tallies, verdicts
from dupekit.workflow.flag import rule_of
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class Status:
    """Where the project stands. What belongs to a round is None or empty before the first."""

    dataset: str
    images: int
    classes: int
    problems: int
    round: rounds.Round | None
    runs: list[rounds.Run]
    pairs_done: int
    suspects: int
    exports: list[exports.Export]
    verdicts: dict[str, int]
    unapplied: list[Unapplied]
    """Decisions of the open round that `apply` does not make, for the dataset is not what was decided on any more."""
    ignored: int
    applications: list[applications.Application]
    rounds: list[convergence.RoundFigures]
    acceptance: convergence.Acceptance | None
    """Of the last round that is reviewed, wholly or in part."""


def status(session: Session) -> Status:
    ledger = session.ledger
    current = rounds.latest(ledger)
    totals = images.totals(ledger)
    number = current.number if current else 0
    return Status(
        dataset=session.settings.dataset,
        images=totals.images,
        classes=totals.classes,
        problems=totals.problems,
        round=current,
        runs=rounds.runs(ledger, number),
        pairs_done=len(rounds.complete_pairs(ledger, number)),
        suspects=tallies.count(ledger, number, rule_of(current, session.settings)) if current else 0,
        exports=exports.of_round(ledger, number),
        verdicts=verdicts.counts(ledger, number),
        unapplied=verdicts.resolved(ledger, number).unapplied if current and not current.closed else [],
        ignored=ignores.count(ledger),
        applications=applications.of_round(ledger, number),
        rounds=convergence.by_round(ledger, lambda one: rule_of(one, session.settings)),
        acceptance=convergence.acceptance(ledger),
    )
