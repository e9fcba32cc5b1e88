"""Status: where a project stands."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.correct.resolve import Unapplied
from dupekit.ledger import convergence, images, review, rounds, tallies
from dupekit.ledger import ignores as ignore_list
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
    flags: int
    exports: list[review.Export]
    verdicts: dict[str, int]
    unapplied: list[Unapplied]
    """Decisions of the open round that `apply` does not make, for the dataset is not what was decided on any more."""
    ignored: int
    applications: list[tuple[str, str, str]]
    rounds: list[convergence.RoundFigures]
    acceptance: convergence.Acceptance | None
    """Of the last round that is reviewed, wholly or in part."""


def status(session: Session) -> Status:
    ledger = session.ledger
    current = rounds.latest(ledger)
    sizes = images.class_sizes(ledger)
    number = current.number if current else 0
    return Status(
        dataset=session.settings.dataset,
        images=sum(count for _, count, _ in sizes),
        classes=sum(count > 0 for _, count, _ in sizes),
        problems=len(images.problems(ledger)),
        round=current,
        runs=rounds.runs(ledger, number),
        pairs_done=len(rounds.complete_pairs(ledger, number)),
        flags=len(tallies.flagged(ledger, number)),
        exports=review.exports(ledger, number),
        verdicts=review.verdict_counts(ledger, number),
        unapplied=review.resolved(ledger, number)[1] if current and not current.closed else [],
        ignored=len(ignore_list.ignores(ledger)),
        applications=review.applications(ledger, number),
        rounds=convergence.by_round(ledger),
        acceptance=convergence.acceptance(ledger),
    )
