"""How far the models agree with the given labels: of each round, and of each class in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from dupekit.ledger import rounds
from dupekit.ledger.database import Ledger
from dupekit.ledger.rounds import RunState
from dupekit.rounds.class_view import ClassView, trained_as


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Of one given label, over the complete pairs of a round."""

    label: str
    trained_as: str
    """The class of the round's models that it was part of: under a class view another name, or one of several."""
    images: int
    predictions: int
    """Held-out predictions of its images."""
    agreeing: int
    """Of these, how many name the given label."""
    naming: int
    """How many predictions, of images of whatever label, name the class that it is trained as."""


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """Of one round."""

    round: int
    images: int
    classes: int
    """That the models tell apart, as the following."""
    largest: int
    """Images of the largest class."""
    agreement: float
    """Mean over its runs of the share of predictions in which the given label is more probable than every other class."""


def by_round(ledger: Ledger) -> list[RoundCounts]:
    """Of every round whose votes were counted, from the first on."""
    sizes: dict[int, Counter[str]] = {}
    views: dict[int, ClassView | None] = {}
    for number, label, images in ledger.rows(
        "SELECT round, name, count(*) FROM tallies JOIN classes ON classes.id = given GROUP BY round, given ORDER BY round"
    ):
        if number not in sizes:
            sizes[number], views[number] = Counter(), rounds.view_of(rounds.get(ledger, number))
        sizes[number][_trained_as(views[number], label)] += images
    return [
        RoundCounts(number, of.total(), len(of), max(of.values()), _agreement(ledger, number))
        for number, of in sizes.items()
    ]


def _trained_as(view: ClassView | None, label: str) -> str:
    """Of a class that was counted: none of them is left out."""
    return trained_as(view, label) or label


def _agreement(ledger: Ledger, round_number: int) -> float:
    found: float = ledger.value(
        "SELECT avg(agreement) FROM runs WHERE round = ? AND agreement IS NOT NULL", (round_number,)
    )
    return found


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
    view = rounds.view_of(rounds.get(ledger, round_number))
    trained = {number: _trained_as(view, name) for number, name, _, _ in sizes}
    draw = (1 + 1e-3) / len({*trained.values()})  # half precision makes it a little more than a share
    agreeing: dict[int, int] = {}
    naming: Counter[str] = Counter()
    for run in _counted_runs(ledger, round_number):
        # By run: sorting one is quicker than sorting all.
        for predicted, named, agreed in ledger.rows(
            "SELECT predicted, count(*), sum(probability = probability_given) FROM predictions"
            " WHERE run = ? AND probability > ? GROUP BY predicted",
            (run, draw),
        ):
            naming[trained[predicted]] += named
            agreeing[predicted] = agreeing.get(predicted, 0) + agreed
    return [
        ClassCounts(
            name, trained[number], images, predictions, agreeing.get(number, 0), naming[trained[number]]
        )
        for number, name, images, predictions in sizes
    ]


def _counted_runs(ledger: Ledger, round_number: int) -> Iterator[int]:
    """The runs whose votes the tallies count."""
    pairs = set(rounds.complete_pairs(ledger, round_number))
    for run in rounds.runs(ledger, round_number):
        if run.pair in pairs and run.state is RunState.DONE:
            yield run.number
