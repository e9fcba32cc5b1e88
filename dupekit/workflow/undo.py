"""Undo: the last collect or apply is taken back."""

from __future__ import annotations

from dupekit.errors import NothingToDo
from dupekit.ledger import steps
from dupekit.ledger.steps import Step
from dupekit.workflow.session import Session


def undo(session: Session) -> Step:
    """Takes back the last step that stands, whatever its round."""
    step = steps.undo(session.ledger)
    if step is None:
        raise NothingToDo(
            "There is no collect and no apply to take back.", hint="`dupekit history` shows all steps."
        )
    return step
