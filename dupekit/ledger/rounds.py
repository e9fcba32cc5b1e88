"""Tables `rounds` and `runs`: what was planned, and how it went."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from dupekit.errors import NothingToDo
from dupekit.files.json_text import parse_json
from dupekit.jobs.files import Half, run_name
from dupekit.ledger.database import Ledger, understood
from dupekit.rounds.class_view import ClassView
from dupekit.rounds.rules import RuleName
from dupekit.rounds.stability import Stability
from dupekit.system.stamp import now

_VIEW: TypeAdapter[ClassView | None] = TypeAdapter(ClassView | None)


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    dataset: str
    """Absolute, escaped."""
    movable: bool
    """Whether it goes with the project, for the settings name it relative to that."""
    begun: str
    closed: str | None
    pairs: int
    """Planned."""
    images: int
    plan: dict[str, Any]
    """Trainer, options, seeds: as `begin` was given them."""
    tallied_pairs: int
    """Complete pairs that the tallies count."""
    threshold: int | None
    """Votes that make a dupe, where somebody set them."""
    rule: RuleName | None
    """Where somebody chose it."""
    stability: Stability | None
    """Of the list that is counted; None below two pairs, or where an older dupekit counted them."""


class RunState(StrEnum):
    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    number: int
    pair: int
    half: Half
    state: RunState
    seconds: float | None
    agreement: float | None
    """Share of the predictions in which the given label is more probable than every other class."""
    error: str | None

    @property
    def name(self) -> str:
        return run_name(self.pair, self.half)


def begin(
    ledger: Ledger,
    *,
    number: int,
    dataset: str,
    pairs: int,
    images: int,
    plan: str,
    movable: bool = False,
    halves: Sequence[Half] = tuple(Half),
) -> None:
    """Begins a round and plans its runs; `plan` is a JSON object. Also anew, where one of this number was begun: what its runs said is then gone.

    `halves` are the runs of a pair: predictions that were made elsewhere need only one.
    """
    with ledger.write() as db:
        db.execute("DELETE FROM predictions WHERE run IN (SELECT id FROM runs WHERE round = ?)", (number,))
        db.execute("DELETE FROM runs WHERE round = ?", (number,))
        db.execute(
            """
            INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET dataset = excluded.dataset, begun = excluded.begun, pairs = excluded.pairs,
                images = excluded.images, plan = excluded.plan
            """,
            (number, ledger.as_recorded(dataset, movable=movable), now(), pairs, images, plan),
        )
        _plan_runs(db, number, pairs, halves)


def extend(ledger: Ledger, round_number: int, *, pairs: int) -> None:
    """Plans pairs up to this many; pairs that are planned already stay."""
    with ledger.write() as db:
        _plan_runs(db, round_number, pairs, tuple(Half))
        db.execute("UPDATE rounds SET pairs = max(pairs, ?) WHERE id = ?", (pairs, round_number))


def _plan_runs(db: sqlite3.Connection, round_number: int, pairs: int, halves: Sequence[Half]) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO runs (round, pair, half, state) VALUES (?, ?, ?, ?)",
        [(round_number, pair, half, RunState.PLANNED) for pair in range(1, pairs + 1) for half in halves],
    )


def shorten(ledger: Ledger, round_number: int, *, pairs: int) -> None:
    """Plans no more than this many pairs: later ones, of which no run may have begun, are not planned any more."""
    with ledger.write() as db:
        db.execute(
            "DELETE FROM runs WHERE round = ? AND pair > ? AND state = ?",
            (round_number, pairs, RunState.PLANNED),
        )
        db.execute("UPDATE rounds SET pairs = ? WHERE id = ?", (pairs, round_number))


def close(ledger: Ledger, round_number: int) -> None:
    """Ends a round: the next training begins another."""
    with ledger.write() as db:
        db.execute("UPDATE rounds SET closed = ? WHERE id = ?", (now(), round_number))


def set_rule(ledger: Ledger, round_number: int, *, rule: RuleName, threshold: int | None) -> None:
    """Records by what the round's images are suspects."""
    with ledger.write() as db:
        db.execute("UPDATE rounds SET rule = ?, threshold = ? WHERE id = ?", (rule, threshold, round_number))


def get(ledger: Ledger, number: int) -> Round:
    row = ledger.rows(
        "SELECT id, placed(dataset), placed(dataset) != dataset, begun, closed, pairs, images, plan, tallied_pairs, threshold, rule,"
        " strong_changed, strong_images FROM rounds WHERE id = ?",
        (number,),
    ).fetchone()
    *others, changed, strong = row
    stability = None if strong is None else Stability(changed, strong)
    found = dict(zip(Round.__slots__, (*others, stability), strict=True))
    found["movable"] = bool(found["movable"])
    found["plan"] = understood(_object, found["plan"])
    found["rule"] = found["rule"] and understood(RuleName, found["rule"])
    return Round(**found)


def view_of(found: Round) -> ClassView | None:
    """How the round sees the dataset's classes; None: as they are."""
    return understood(_VIEW.validate_python, found.plan.get("view"))


def _object(text: str) -> dict[str, Any]:
    found = parse_json(text)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def latest(ledger: Ledger) -> Round | None:
    """The last round begun, closed or not."""
    number = ledger.value("SELECT max(id) FROM rounds")
    return None if number is None else get(ledger, number)


def current(ledger: Ledger) -> Round:
    """The round that is open. Raises NothingToDo where there is none."""
    found = latest(ledger)
    if found is None:
        raise NothingToDo("No round has been begun yet.", hint="Run `dupekit train`.")
    if found.closed:
        raise NothingToDo(
            f"Round {found.number} is closed, and the next has not been begun.",
            hint="`dupekit train` begins it; `dupekit undo` takes the end back.",
        )
    return found


_RUN = "SELECT id, pair, half, state, seconds, agreement, nullif(error, '') FROM runs"


def runs(ledger: Ledger, round_number: int) -> list[Run]:
    """The round's runs, by pair and half."""
    found = ledger.rows(f"{_RUN} WHERE round = ? ORDER BY pair, half", (round_number,))
    return [_run(*row) for row in found]


def run(ledger: Ledger, number: int) -> Run:
    """The run of this number."""
    return _run(*ledger.rows(f"{_RUN} WHERE id = ?", (number,)).fetchone())


def _run(
    number: int,
    pair: int,
    half: str,
    state: str,
    seconds: float | None,
    agreement: float | None,
    error: str | None,
) -> Run:
    return Run(number, pair, understood(Half, half), understood(RunState, state), seconds, agreement, error)


def complete_pairs(ledger: Ledger, round_number: int) -> list[int]:
    """The pairs of which every run is done: both halves, or the only one of a round that was imported."""
    found = ledger.rows(
        "SELECT pair FROM runs WHERE round = ? GROUP BY pair HAVING min(state = ?) ORDER BY pair",
        (round_number, RunState.DONE),
    )
    return [pair for (pair,) in found]


def record_failed(ledger: Ledger, run: int, *, error: str) -> None:
    with ledger.write() as db:
        db.execute(
            "UPDATE runs SET state = ?, error = ?, finished = ? WHERE id = ?",
            (RunState.FAILED, error, now(), run),
        )
