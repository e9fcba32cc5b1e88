"""Undo: the last collect, apply or end of a round is taken back."""

from __future__ import annotations

from dupekit.errors import NothingToDo, UsageError
from dupekit.files.names import unescape
from dupekit.ledger import endings, rounds, steps
from dupekit.ledger.steps import Step, StepKind
from dupekit.system.progress import silent
from dupekit.workflow.next_round import switch
from dupekit.workflow.scan import find_changes, scan
from dupekit.workflow.session import Session


def undo(session: Session) -> Step:
    """Takes back the last step that stands, whatever its round."""
    step = steps.last(session.ledger)
    if step is None:
        raise NothingToDo("There is no step to take back.", hint="`dupekit history` shows all steps.")
    if step.what is StepKind.NEXT:
        _reopen(session, step)
    else:
        steps.take_back(session.ledger, step)
    return step


def _reopen(session: Session, step: Step) -> None:
    """The round goes on, on its dataset. Recorded last, so that a call that was killed can be repeated."""
    ledger = session.ledger
    latest, ending = rounds.latest(ledger), endings.of_round(ledger, step.round)
    if latest is None or ending is None or latest.number != step.round:
        raise UsageError(
            f"The last step is the `dupekit next` of {step.at} that ended round {step.round}, and the training of the next"
            " round has begun: what came later builds on it, so it is not taken back.",
            hint="Decide anew in the next round; `dupekit ignore remove` takes an image off the ignore list.",
        )
    switched = switch(session, unescape(ending.before))
    found = find_changes(switched.session, silent)
    switched.write()
    scan(switched.session, found, silent)
    endings.take_back(ledger, ending)
