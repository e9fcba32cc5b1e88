"""Flag: which images of a round are suspects, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.errors import NothingToDo, UsageError
from dupekit.ledger import rounds, tallies, verdicts
from dupekit.ledger.rounds import Round
from dupekit.rounds.class_view import ClassView
from dupekit.rounds.rules import Rule, RuleName, Suspect, default_threshold
from dupekit.settings import Settings
from dupekit.system.progress import silent
from dupekit.workflow.ingest import count_votes
from dupekit.workflow.last_round import last_round
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class Flagged:
    round: int
    pairs: int
    """Complete pairs, so also the largest number of votes there can be."""
    pairs_planned: int
    rule: Rule
    suspects: list[Suspect]
    """Most suspicious first."""
    by_other_rule: int
    """How many there would be by the other rule."""
    ignored: int
    """How many more the rule would flag, but they are on the ignore list."""
    outdated: int
    """Images of the round that are gone or changed since; they are not flagged."""
    view: ClassView | None
    """How the round saw the dataset's classes; None: as they are."""


def flag(session: Session, *, rule: RuleName | None = None, threshold: int | None = None) -> Flagged:
    """The suspects of the current round. Told a rule or a threshold, which means the rule `votes`, it sets the round's rule;
    else it changes nothing.

    Raises NothingToDo while no pair is complete, UsageError for a threshold that cannot be.
    """
    ledger = session.ledger
    current = counted(session)
    if rule is RuleName.SCORE and threshold is not None:
        raise UsageError(
            "A threshold counts votes, and the rule `score` asks for none.", hint="Name one of the two only."
        )
    if threshold is not None:
        _check(threshold, current)
    if rule is not None or threshold is not None:
        rounds.set_rule(ledger, current.number, rule=rule or RuleName.VOTES, threshold=threshold)
    with verdicts.worked_out_once(ledger):
        return _flagged(session)


def _flagged(session: Session) -> Flagged:
    ledger = session.ledger
    current = rounds.current(ledger)
    chosen = rule_in_force(current, session.settings)
    counts = tallies.counts(ledger, current.number, chosen)
    return Flagged(
        round=current.number,
        pairs=current.tallied_pairs,
        pairs_planned=current.pairs,
        rule=chosen,
        suspects=tallies.suspects(ledger, current.number, chosen),
        by_other_rule=counts.by_other_rule,
        ignored=counts.ignored,
        outdated=counts.outdated,
        view=rounds.view_of(current),
    )


def flag_beside(session: Session) -> Flagged:
    """The suspects as they are now, while another command, such as a training, writes: nothing is recorded. Raises NothingToDo as
    `flag`."""
    with last_round(session, silent):
        counted(session)
        return _flagged(session)


def counted(session: Session) -> Round:
    """The current round, its votes counted: after a training that was killed some are not yet.

    Raises NothingToDo while no pair is complete.
    """
    number = rounds.current(session.ledger).number
    if not count_votes(session.ledger, session.folder(number), silent):
        raise NothingToDo(f"No pair of round {number} is complete yet.", hint="Run `dupekit train`.")
    return rounds.current(session.ledger)


def _check(threshold: int, current: Round) -> None:
    if not 1 <= threshold <= current.pairs:
        raise UsageError(
            f"A threshold of {threshold} votes cannot be reached: the round has {current.pairs} pairs."
            if threshold > current.pairs
            else f"A threshold of {threshold} votes would flag every image.",
            hint=f"Name a threshold from 1 to {current.pairs}, or train more pairs.",
        )


def rule_in_force(current: Round, settings: Settings) -> Rule:
    """By what images are suspects. Raises UsageError for a threshold, as of dupekit.toml, that no image can reach."""
    rule = rule_of(current, settings)
    if rule.name is RuleName.VOTES:
        _check(rule.threshold, current)
    return rule


def rule_of(current: Round, settings: Settings) -> Rule:
    """By what a round's images are suspects: as chosen, else as the settings say, else four in five of the planned pairs."""
    threshold = current.threshold or settings.threshold or default_threshold(current.pairs)
    return Rule(current.rule or settings.rule, threshold)
