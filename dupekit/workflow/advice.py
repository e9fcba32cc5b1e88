"""What is next: the one place that says so, for `status` and whatever ends with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from dupekit.files.lock import at_work
from dupekit.ledger import applications, endings, findings, images, opinions, rounds, tallies, verdicts
from dupekit.ledger.exports import Out
from dupekit.ledger.opinions import Opinions
from dupekit.ledger.rounds import Round
from dupekit.ledger.verdicts import Outstanding
from dupekit.rounds.in_words import counted
from dupekit.rounds.rules import Rule, RuleName
from dupekit.rounds.yields import Yield, estimate
from dupekit.workflow.flag import rule_of
from dupekit.workflow.session import LOCK, Session
from dupekit.workflow.submitted import submitted, train_by
from dupekit.workflow.trees_out import trees_out

TRAIN = "dupekit train"


@dataclass(frozen=True, slots=True)
class Advice:
    """What is next."""

    why: str
    """A sentence."""
    command: str | None
    """None where there is nothing to do."""

    def __str__(self) -> str:
        return f"{self.why} Next: {self.command}" if self.command else self.why


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a round that is open has come."""

    rule: Rule
    pairs_done: int
    out: list[Out]
    """Trees that were not called back, finished or not."""
    suspects: int
    waiting: int
    """Of these, those that are neither decided nor in one of these trees."""
    decided: int
    """Images with a verdict other than unsure."""
    opinions: list[Opinions]
    """Of images that two people looked at."""
    outstanding: Outstanding
    applied: bool
    """Whether there is a corrected dataset."""
    ending: bool
    """Whether a `next` was cut off."""
    found: Yield | None
    """None before the first verdict."""


def standing(session: Session, current: Round) -> Standing:
    ledger, number = session.ledger, current.number
    rule = rule_of(current, session.settings)
    decided = findings.decided(ledger, number)
    counts = tallies.counts(ledger, number, rule)
    return Standing(
        rule=rule,
        pairs_done=len(rounds.complete_pairs(ledger, number)),
        out=trees_out(session, number),
        suspects=counts.suspects,
        waiting=counts.waiting,
        decided=decided,
        opinions=opinions.of_round(ledger, number),
        outstanding=verdicts.outstanding(ledger, number),
        applied=bool(applications.of_round(ledger, number)),
        ending=endings.of_round(ledger, number) is not None,
        found=_found(session, current) if decided else None,
    )


def _found(session: Session, current: Round) -> Yield:
    rule = rule_of(current, session.settings)
    read = findings.findings(session.ledger, current.number, rule)
    return estimate(
        read.reviewed,
        audit=read.audit,
        undecided=read.undecided,
        out=read.out,
        unsuspected=read.unsuspected,
        batch=len(read.undecided) if rule.name is RuleName.VOTES else session.settings.batch,
    )


def advice(session: Session) -> Advice:
    """What is next in a project."""
    current = rounds.latest(session.ledger)
    if current is None or current.closed:
        return advise(session, current, None)
    with verdicts.worked_out_once(session.ledger):
        return advise(session, current, standing(session, current))


def advise(session: Session, current: Round | None, at: Standing | None) -> Advice:
    """What is next, from what is known already; `at` of a round that is open."""
    said = _advise(session, current, at)
    if (
        (said.command or "").startswith(TRAIN)
        and (holder := at_work(session.root / LOCK))
        and holder.what == "train"
    ):
        return Advice(f"{said.why} A training is at work (process {holder.pid}).", None)
    return said


def _advise(session: Session, current: Round | None, at: Standing | None) -> Advice:
    if not images.any_present(session.ledger):
        return Advice("The dataset has not been scanned.", "dupekit scan")
    if current is None:
        return Advice("No round has been begun.", TRAIN)
    if at is None:
        return Advice(f"Round {current.number} has ended; the next one begins with a training.", TRAIN)
    if at.ending:
        return Advice(f"The end of round {current.number} was cut off.", "dupekit next")
    if at.pairs_done < current.pairs and current.plan.get("imported"):
        return Advice("The import of predictions was cut off.", "dupekit import-predictions FILES")
    if at.pairs_done < current.pairs and not (at.out or at.decided):
        if found := submitted(session.folder(current.number)):
            return Advice(str(found), train_by(found.executor, session.settings.executor))
        return Advice(f"{at.pairs_done} of {current.pairs} pairs are complete.", TRAIN)
    return _review(at)


def _review(at: Standing) -> Advice:
    waited_for = [one for one in at.out if one.open]
    if waited_for:
        return _trees(waited_for)
    disputed = sum(one.disputed for one in at.opinions)
    if disputed:
        return Advice(
            f"Of {counted(disputed, 'image')} two people say different things.",
            "dupekit export --again disputed",
        )
    stop = at.found is not None and at.found.stop
    if at.waiting and not stop:
        return Advice(f"{counted(at.waiting, 'image')} {_verb(at.waiting)} for review.", "dupekit export")
    if at.outstanding.corrections:
        missing = at.outstanding.corrections
        return Advice(
            f"{missing:,} {'correction is' if missing == 1 else 'corrections are'} in no corrected dataset yet.",
            "dupekit apply DEST",
        )
    if at.decided or at.applied or at.out:
        return Advice(
            "Everything is decided and applied." if not at.waiting else "Enough is reviewed.", "dupekit next"
        )
    if at.rule.name is RuleName.VOTES:
        return Advice("No image has enough votes: be glad, or ask by the score.", "dupekit flag --rule score")
    return Advice("No image is a suspect: be glad.", None)


def _trees(out: Sequence[Out]) -> Advice:
    first, still_open = out[0], sum(one.open for one in out)
    if len(out) == 1:
        why = (
            f"A tree is out, with {still_open:,} of {first.images:,} images open: collect it when it is done."
        )
    else:
        why = f"{len(out)} trees are out, with {still_open:,} images open: collect each when it is done."
    return Advice(why, f"dupekit collect {shlex.quote(first.place)}")


def _verb(number: int) -> str:
    return "waits" if number == 1 else "wait"
