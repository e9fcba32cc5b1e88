"""Table `predictions`: what each run says of its held-out images, in short.

Its key is in the order of writing, so that a run is appended and nothing rewritten; and it alone has no foreign keys:
the numbers were checked when the run was ingested, and looking each of them up again took most of the time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.ledger.database import Ledger
from dupekit.ledger.rounds import RunState
from dupekit.rounds.confusion import Confused
from dupekit.system.stamp import now

_BLOCK, _AT_ONCE = 16384, 128
"""Rows made at a time, and by one statement: of single rows the calls cost more than the inserting. For 640,000 of them 0.40 s, not
0.86, and sqlite-utils' insert_all takes three to eight times that."""


@dataclass(frozen=True, slots=True, eq=False)
class RunPredictions:
    """Of one run, as columns of k predictions."""

    images: NDArray[np.int64]
    """The ledger's numbers, ascending."""
    predicted: NDArray[np.int64]
    """Numbers of the most probable classes."""
    probability: NDArray[np.floating[Any]]
    probability_given: NDArray[np.floating[Any]]
    """Of the given label."""


@dataclass(frozen=True, slots=True)
class Prediction:
    path: str
    label: str
    """The most probable class."""


def record(
    ledger: Ledger, run: int, predictions: RunPredictions, *, seconds: float, agreement: float
) -> None:
    """Records that a run is done, and its predictions in place of earlier ones, in one transaction."""
    with ledger.write() as db:
        db.execute("DELETE FROM predictions WHERE run = ?", (run,))
        for start in range(0, len(predictions.images), _BLOCK):
            _insert(db, run, predictions, slice(start, start + _BLOCK))
        db.execute(
            "UPDATE runs SET state = ?, error = '', finished = ?, seconds = ?, agreement = ? WHERE id = ?",
            (RunState.DONE, now(), seconds, agreement, run),
        )
        # Whatever was counted before is out of date.
        db.execute(
            "UPDATE rounds SET tallied_pairs = 0, strong_changed = NULL, strong_images = NULL"
            " WHERE id = (SELECT round FROM runs WHERE id = ?)",
            (run,),
        )


def _insert(db: sqlite3.Connection, run: int, predictions: RunPredictions, part: slice) -> None:
    columns = (
        predictions.images[part].tolist(),
        predictions.predicted[part].tolist(),
        predictions.probability[part].tolist(),
        predictions.probability_given[part].tolist(),
    )
    values = list(chain.from_iterable(zip(*columns, strict=True)))
    width = len(columns)
    many = len(columns[0]) // _AT_ONCE * _AT_ONCE * width
    for rows, first, last in ((_AT_ONCE, 0, many), (1, many, len(values))):
        step = rows * width
        places = ", ".join(["(?, ?, ?, ?, ?)".replace("?", str(run), 1)] * rows)
        db.executemany(
            f"INSERT INTO predictions (run, image, predicted, probability, probability_given) VALUES {places}",
            (values[at : at + step] for at in range(first, last, step)),
        )


def of_round(ledger: Ledger, round_number: int) -> Iterator[Prediction]:
    """Every prediction of a round, one by one."""
    for path, label in ledger.rows(
        """
        SELECT path, classes.name FROM runs
        JOIN predictions ON run = runs.id
        JOIN images ON images.id = image
        JOIN classes ON classes.id = predicted
        WHERE round = ?
        """,
        (round_number,),
    ):
        yield Prediction(path, label)


def confused(ledger: Ledger, round_number: int) -> list[Confused]:
    """How often images of each class were taken for each class, over all predictions of a round; by given, then predicted class.
    The given label is that which votes were counted under."""
    # Numbers are grouped, and names looked up for what comes out: joined first, names were sorted for every prediction.
    found = ledger.rows(
        """
        SELECT g.name, p.name, n FROM (
            SELECT tallies.given AS given, predicted, count(*) AS n FROM runs
            CROSS JOIN predictions ON run = runs.id
            CROSS JOIN tallies ON tallies.round = runs.round AND tallies.image = predictions.image
            WHERE runs.round = ? GROUP BY 1, 2)
        JOIN classes AS g ON g.id = given JOIN classes AS p ON p.id = predicted
        ORDER BY g.name, p.name
        """,
        (round_number,),
    )
    return [Confused(*row) for row in found]


def counts(ledger: Ledger) -> dict[int, int]:
    """Run -> how many predictions the ledger has of it."""
    return dict(ledger.rows("SELECT run, count(*) FROM predictions GROUP BY run").fetchall())
