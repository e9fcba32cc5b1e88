"""Tables `rounds`, `runs` and `predictions`: what was planned, trained and predicted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import NothingToDo
from dupekit.jobs.files import Half, run_name
from dupekit.ledger import Ledger
from dupekit.system.stamp import now


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    dataset: str
    begun: str
    closed: str | None
    pairs: int
    """Planned."""
    images: int
    plan: str
    """JSON: trainer, options, seeds."""
    tallied_pairs: int
    """Complete pairs that the tallies count."""
    threshold: int | None
    """Of the last flagging."""


@dataclass(frozen=True, slots=True)
class Run:
    number: int
    pair: int
    half: Half
    state: str
    """"planned", "done" or "failed"."""
    seconds: float | None
    agreement: float | None
    """Share of its predictions that equal the given label."""
    error: str

    @property
    def name(self) -> str:
        return run_name(self.pair, self.half)


def begin(ledger: Ledger, *, number: int, dataset: str, pairs: int, images: int, plan: str) -> None:
    """Begins a round and plans its runs; also anew, where one of this number was begun and none of its runs is done."""
    with ledger.write() as db:
        db.execute("DELETE FROM runs WHERE round = ?", (number,))
        db.execute(
            """
            INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET dataset = excluded.dataset, begun = excluded.begun, pairs = excluded.pairs,
                images = excluded.images, plan = excluded.plan
            """,
            (number, dataset, now(), pairs, images, plan),
        )
    extend(ledger, number, pairs=pairs)


def extend(ledger: Ledger, round_number: int, *, pairs: int) -> None:
    """Plans pairs up to this many; pairs that are planned already stay."""
    with ledger.write() as db:
        db.executemany(
            "INSERT OR IGNORE INTO runs (round, pair, half, state) VALUES (?, ?, ?, 'planned')",
            [(round_number, pair, half) for pair in range(1, pairs + 1) for half in Half],
        )
        db.execute("UPDATE rounds SET pairs = max(pairs, ?) WHERE id = ?", (pairs, round_number))


def close(ledger: Ledger, round_number: int) -> None:
    """Ends a round: the next training begins another."""
    with ledger.write() as db:
        db.execute("UPDATE rounds SET closed = ? WHERE id = ?", (now(), round_number))


def get(ledger: Ledger, number: int) -> Round:
    row = ledger.rows(
        "SELECT id, dataset, begun, closed, pairs, images, plan, tallied_pairs, threshold"
        " FROM rounds WHERE id = ?",
        (number,),
    ).fetchone()
    return Round(*row)


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
            f"Round {found.number} is closed, and the next has not been begun.", hint="Run `dupekit train`."
        )
    return found


def runs(ledger: Ledger, round_number: int) -> list[Run]:
    """The round's runs, by pair and half."""
    found = ledger.rows(
        "SELECT id, pair, half, state, seconds, agreement, error FROM runs WHERE round = ?"
        " ORDER BY pair, half",
        (round_number,),
    )
    return [_run(*row) for row in found]


def run(ledger: Ledger, number: int) -> Run:
    """The run of this number."""
    sql = "SELECT id, pair, half, state, seconds, agreement, error FROM runs WHERE id = ?"
    return _run(*ledger.rows(sql, (number,)).fetchone())


def _run(number: int, pair: int, half: str, *rest: Any) -> Run:
    return Run(number, pair, Half(half), *rest)


def complete_pairs(ledger: Ledger, round_number: int) -> list[int]:
    """The pairs of which both halves are done."""
    found = ledger.rows(
        "SELECT pair FROM runs WHERE round = ? AND state = 'done' GROUP BY pair HAVING count(*) = 2"
        " ORDER BY pair",
        (round_number,),
    )
    return [pair for (pair,) in found]


def record_failed(ledger: Ledger, run: int, *, error: str) -> None:
    with ledger.write() as db:
        db.execute(
            "UPDATE runs SET state = 'failed', error = ?, finished = ? WHERE id = ?", (error, now(), run)
        )


def record_done(
    ledger: Ledger,
    run: int,
    *,
    seconds: float,
    agreement: float,
    images: NDArray[np.int64],
    predicted: Sequence[int] | NDArray[np.int64],
    probability: NDArray[np.float64],
    probability_given: NDArray[np.float64],
) -> None:
    """Records a run and its predictions, arrays of shape (k,), in one transaction."""
    rows: Iterable[tuple[int, int, int, float, float]] = zip(
        images.tolist(),
        [run] * len(images),
        np.asarray(predicted).tolist(),
        probability.tolist(),
        probability_given.tolist(),
        strict=True,
    )
    with ledger.write() as db:
        # executemany: sqlite-utils' insert_all measured three to eight times slower.
        db.executemany("INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?, ?)", rows)
        db.execute(
            "UPDATE runs SET state = 'done', error = '', finished = ?, seconds = ?, agreement = ? WHERE id = ?",
            (now(), seconds, agreement, run),
        )
        # Whatever was counted before is out of date.
        db.execute(
            "UPDATE rounds SET tallied_pairs = 0 WHERE id = (SELECT round FROM runs WHERE id = ?)", (run,)
        )


def predictions(ledger: Ledger, round_number: int) -> Iterator[tuple[str, str]]:
    """Path of the image and predicted label of every prediction, one by one."""
    yield from ledger.rows(
        """
        SELECT path, classes.name FROM predictions
        JOIN runs ON runs.id = run
        JOIN images ON images.id = image
        JOIN classes ON classes.id = predicted
        WHERE runs.round = ?
        """,
        (round_number,),
    )
