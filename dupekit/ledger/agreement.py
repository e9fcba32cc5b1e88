"""How far the models agree with the given labels: of each round, and of each class in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dupekit.ledger import rounds
from dupekit.ledger.database import Ledger
from dupekit.ledger.rounds import RunState


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Of one given label, over the complete pairs of a round."""

    label: str
    images: int
    predictions: int
    """Held-out predictions of its images."""
    agreeing: int
    """Of these, how many name the given label."""
    naming: int
    """How many predictions, of images of whatever label, name this class."""


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """Of one round."""

    round: int
    images: int
    classes: int
    largest: int
    """Images of the largest class."""
    agreement: float
    """Mean over its runs of the share of predictions in which the given label is more probable than every other class."""


def by_round(ledger: Ledger) -> list[RoundCounts]:
    """Of every round whose votes were counted, from the first on."""
    found = ledger.rows(
        """
        SELECT round, sum(images), count(*), max(images),
            (SELECT avg(agreement) FROM runs WHERE runs.round = sizes.round AND agreement IS NOT NULL)
        FROM (SELECT round, given, count(*) AS images FROM tallies GROUP BY round, given) AS sizes
        GROUP BY round ORDER BY round
        """
    )
    return [RoundCounts(*row) for row in found]


def by_class(ledger: Ledger, round_number: int) -> list[ClassCounts]:
    """Of every class of a round whose votes were counted, by name.

    One pass over the predictions and one over the tallies, whatever their numbers: 12.8 million predictions take some
    seconds. A prediction names the given label just where its two probabilities are the same; one that finds all
    classes equally probable is a draw, and names none.
    """
    sizes = ledger.rows(
        """
        SELECT given, name, count(*), sum(predictions) FROM tallies JOIN classes ON classes.id = given
        WHERE round = ? GROUP BY given ORDER BY name
        """,
        (round_number,),
    ).fetchall()
    if not sizes:
        return []
    draw = (1 + 1e-3) / len(sizes)  # half precision makes it a little more than a share
    agreeing: dict[int, int] = {}
    naming: dict[int, int] = {}
    for run in _counted_runs(ledger, round_number):
        # By run: sorting one is quicker than sorting all.
        for predicted, named, agreed in ledger.rows(
            "SELECT predicted, count(*), sum(probability = probability_given) FROM predictions"
            " WHERE run = ? AND probability > ? GROUP BY predicted",
            (run, draw),
        ):
            naming[predicted] = naming.get(predicted, 0) + named
            agreeing[predicted] = agreeing.get(predicted, 0) + agreed
    return [
        ClassCounts(name, images, predictions, agreeing.get(number, 0), naming.get(number, 0))
        for number, name, images, predictions in sizes
    ]


def _counted_runs(ledger: Ledger, round_number: int) -> Iterator[int]:
    """The runs whose votes the tallies count."""
    pairs = set(rounds.complete_pairs(ledger, round_number))
    for run in rounds.runs(ledger, round_number):
        if run.pair in pairs and run.state is RunState.DONE:
            yield run.number
