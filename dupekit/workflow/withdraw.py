"""Withdraw: a review tree is called back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dupekit.errors import NothingToDo, TreeUnavailable
from dupekit.files.names import escape
from dupekit.files.paths import absolute
from dupekit.ledger import exports, rounds
from dupekit.ledger.exports import Export, Out
from dupekit.review.manifest import export_key, read_manifest
from dupekit.workflow.session import Session
from dupekit.workflow.trees_out import only_open, trees_out


@dataclass(frozen=True, slots=True)
class Withdrawn:
    round: int
    tree: str
    """Where it was written, or collected from last: absolute, escaped."""
    open: int
    """Images that nobody has decided: they go out again."""
    decided: int


def withdraw(session: Session, tree: Path | None) -> Withdrawn:
    """Calls a tree back, default the only one with open images: what is open in it goes out again with the next batch, what
    was collected from it stays.

    `tree` is its folder, its manifest, or where it was, if it is there no more. No file is touched, and the tree may still
    be collected. Raises UsageError where it is not clear which, NothingToDo where it is called back already or its round
    has ended.
    """
    ledger = session.ledger
    current = rounds.current(ledger)
    found = (
        _only(session, current.number) if tree is None else _named(session, current.number, absolute(tree))
    )
    exports.withdraw(ledger, found.export.number)
    return Withdrawn(current.number, found.place, found.open, found.decided)


def _only(session: Session, round_number: int) -> Out:
    found = only_open(session, round_number)
    if found is None:
        raise NothingToDo(
            f"No tree of round {round_number} has an image open.", hint="`dupekit status` lists the trees."
        )
    return found


def _named(session: Session, round_number: int, tree: Path) -> Out:
    key = read_manifest(tree).export if tree.is_file() else export_key(tree)
    place = escape(str(tree))
    for one in reversed(trees_out(session, round_number)):
        if one.export.key == key or (key is None and place in (one.place, one.export.tree)):
            return one
    known = exports.by_key(session.ledger, key) if key else exports.last_at(session.ledger, place)
    if known is None:
        raise TreeUnavailable(
            f"{tree} is no review tree of this project.",
            hint="`dupekit status` lists the trees that are out.",
        )
    raise _not_out(session, known)


def _not_out(session: Session, known: Export) -> NothingToDo:
    if known.withdrawn:
        why = f"was called back on {known.withdrawn} already"
    elif rounds.get(session.ledger, known.round).closed:
        why = f"is of round {known.round}, which has ended: nobody waits for it"
    else:
        why = "was never finished: `dupekit export` was cut off"
    return NothingToDo(f"The tree {known.tree} {why}.", hint="`dupekit status` lists the trees that are out.")
