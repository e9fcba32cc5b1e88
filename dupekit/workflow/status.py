"""Status: where a project stands."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.correct.resolve import Unapplied
from dupekit.jobs.evaluation import Evaluation
from dupekit.ledger import (
    applications,
    convergence,
    exports,
    ignores,
    images,
    opinions,
    rounds,
    tallies,
    verdicts,
)
from dupekit.ledger.exports import Out
from dupekit.ledger.opinions import Opinions
from dupekit.review.two_people import TwoPeople
from dupekit.rounds.rules import Rule
from dupekit.rounds.yields import Yield
from dupekit.workflow.advice import Advice, advise, standing
from dupekit.workflow.evaluate import last_evaluation
from dupekit.workflow.flag import rule_of
from dupekit.workflow.session import Session
from dupekit.workflow.submitted import Submitted, submitted


@dataclass(frozen=True, slots=True)
class Status:
    """Where the project stands. What belongs to a round is None or empty before the first, and what is to be done in one
    once it has ended."""

    dataset: str
    images: int
    classes: int
    problems: int
    round: rounds.Round | None
    rule: Rule | None
    runs: list[rounds.Run]
    submitted: Submitted | None
    """Runs that a cluster has, or has done without anybody having taken that up; None where there are none."""
    pairs_done: int
    list_changed: float | None
    """Share of the images with a score above 2 that the last pair brought there or took from there; None where fewer than two
    pairs are counted."""
    suspects: int
    """By the rule; without the ignore list, so without those that were found right."""
    waiting: int
    """Of these, those that are neither decided nor in a tree that was not called back."""
    exports: list[exports.Export]
    out: list[Out]
    """The trees of the open round that were not called back."""
    verdicts: dict[str, int]
    """Disputed ones are unsure."""
    two_people: TwoPeople | None
    """How far they agree; None where there are no second opinions."""
    disputed: list[Opinions]
    found: Yield | None
    """What the review of the open round has found, and what is probably left; None before its first verdict."""
    to_apply: int
    """Corrections of the open round that are in no corrected dataset."""
    unapplied: list[Unapplied]
    """Decisions of the open round that `apply` does not make, for the dataset is not what was decided on any more."""
    ignored: int
    applications: list[applications.Application]
    evaluation: Evaluation | None
    """The last one of the last corrected dataset."""
    rounds: list[convergence.RoundFigures]
    acceptance: convergence.Acceptance | None
    """Of the last round that is reviewed, wholly or in part."""
    next: Advice


def status(session: Session) -> Status:
    with verdicts.worked_out_once(session.ledger):
        return _status(session)


def _status(session: Session) -> Status:
    ledger, settings = session.ledger, session.settings
    current = rounds.latest(ledger)
    totals = images.totals(ledger)
    number = current.number if current else 0
    at = standing(session, current) if current and not current.closed else None
    rule = rule_of(current, settings) if current else None
    suspects = at.suspects if at else tallies.counts(ledger, number, rule).suspects if rule else 0
    two = at.opinions if at else opinions.of_round(ledger, number)
    return Status(
        dataset=settings.dataset,
        images=totals.images,
        classes=totals.classes,
        problems=totals.problems,
        round=current,
        rule=rule,
        runs=rounds.runs(ledger, number),
        submitted=submitted(session.folder(number)) if current else None,
        pairs_done=len(rounds.complete_pairs(ledger, number)),
        list_changed=current.stability.share if current and current.stability else None,
        suspects=suspects,
        waiting=at.waiting if at else 0,
        exports=exports.of_round(ledger, number),
        out=at.out if at else [],
        verdicts=verdicts.counts(ledger, number),
        two_people=opinions.two_people(two) if two else None,
        disputed=[one for one in two if one.disputed],
        found=at.found if at else None,
        to_apply=at.outstanding.corrections if at else 0,
        unapplied=at.outstanding.unapplied if at else [],
        ignored=ignores.count(ledger),
        applications=applications.of_round(ledger, number),
        evaluation=last_evaluation(session),
        rounds=convergence.by_round(ledger, lambda one: rule_of(one, settings)),
        acceptance=convergence.acceptance(ledger),
        next=advise(session, current, at),
    )
