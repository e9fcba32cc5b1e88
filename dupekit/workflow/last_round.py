"""The last round, as it is now: for what only reads, also while a training goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dupekit.errors import NothingToDo
from dupekit.files.names import unescape
from dupekit.ledger import rounds, verdicts
from dupekit.ledger.rounds import Round
from dupekit.system.progress import Progress
from dupekit.workflow.ingest import count_votes
from dupekit.workflow.session import Session


@contextlib.contextmanager
def last_round(session: Session, progress: Progress) -> Iterator[Round]:
    """The last round begun, as it is now, also while a training goes on: what is done of it is counted for this session alone,
    and within the block it does not change. Raises NothingToDo while no pair of it is complete."""
    ledger = session.ledger
    latest = rounds.latest(ledger)
    if latest is None:
        raise NothingToDo("No round has been begun yet.", hint="Run `dupekit train`.")
    with ledger.apart("rounds", "runs"), verdicts.worked_out_once(ledger), contextlib.ExitStack() as stack:
        current = rounds.get(ledger, latest.number)
        complete = len(rounds.complete_pairs(ledger, current.number))
        if not complete:
            raise NothingToDo(
                f"No pair of round {current.number} is complete yet.", hint="Run `dupekit train`."
            )
        if complete != current.tallied_pairs:
            stack.enter_context(ledger.apart("tallies"))
            count_votes(ledger, session.folder(current.number), progress)
        yield rounds.get(ledger, current.number)


def dataset_of(session: Session, current: Round) -> Path:
    """Where a round's images lie: since one that has ended, the project may be on another dataset."""
    return Path(unescape(current.dataset)) if current.closed else session.dataset
