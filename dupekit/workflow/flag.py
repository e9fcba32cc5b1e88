"""Flag: the round's rule is applied to its votes."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.errors import NothingToDo, UsageError
from dupekit.ledger import rounds, tallies
from dupekit.rounds.rules import Dupe, default_threshold
from dupekit.system.progress import silent
from dupekit.workflow.ingest import count_votes
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class Flagged:
    round: int
    pairs: int
    """Complete pairs, so also the largest number of votes there can be."""
    pairs_planned: int
    threshold: int
    dupes: list[Dupe]
    """Most suspicious first."""
    ignored: int
    """How many more reach the threshold but are on the ignore list."""
    outdated: int
    """Images of the round that are gone or changed since; they are not flagged."""


def flag(session: Session, *, threshold: int | None = None, limit: int | None = None) -> Flagged:
    """Flags the dupes of the current round; with `limit` only the most suspicious.

    The threshold is the argument, else the setting, else four in five of the planned pairs. Raises NothingToDo while no
    pair is complete, UsageError for a threshold or limit that cannot be.
    """
    ledger = session.ledger
    current = rounds.current(ledger)
    pairs = count_votes(ledger, session.folder(current.number), silent)
    if not pairs:
        raise NothingToDo(f"No pair of round {current.number} is complete yet.", hint="Run `dupekit train`.")
    least = session.settings.threshold or default_threshold(current.pairs) if threshold is None else threshold
    if not 1 <= least <= current.pairs:
        raise UsageError(
            f"A threshold of {least} votes cannot be reached: the round has {current.pairs} pairs."
            if least > current.pairs
            else f"A threshold of {least} votes would flag every image.",
            hint=f"Name a threshold from 1 to {current.pairs}, or train more pairs.",
        )
    if limit is not None and limit < 1:
        raise UsageError(f"A limit of {limit} images flags none.", hint="Name 1 or more, or leave it out.")
    dupes = tallies.dupes(ledger, current.number, threshold=least)[:limit]
    tallies.record_flags(ledger, current.number, dupes, threshold=least)
    return Flagged(
        round=current.number,
        pairs=pairs,
        pairs_planned=current.pairs,
        threshold=least,
        dupes=dupes,
        ignored=tallies.ignored(ledger, current.number, threshold=least),
        outdated=tallies.outdated(ledger, current.number),
    )
