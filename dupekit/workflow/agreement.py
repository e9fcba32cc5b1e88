"""Agreement: how far the models of a round can judge it, and each of its classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dupekit.errors import NothingToDo
from dupekit.ledger import agreement as counted
from dupekit.ledger import rounds
from dupekit.rounds.chance import near_chance
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    label: str
    images: int
    agreement: float
    """Share of the held-out predictions of its images that name it."""
    chance: float
    """What guessing would agree with: the share of all predictions that name this class, of whatever image, or one in as
    many as there are classes, if that is more."""
    near_chance: bool
    trained_as: str | None
    """The class of the models that it was part of, if that is another; it is by that class that agreement and chance are."""


@dataclass(frozen=True, slots=True)
class RoundAgreement:
    round: int
    images: int
    classes: int
    """That the models tell apart."""
    agreement: float
    """Mean over its runs of the share of predictions in which the given label is more probable than every other class."""
    chance: float
    """What naming the largest class every time would agree with."""
    near_chance: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    rounds: list[RoundAgreement]
    """Whose votes were counted, in order."""
    classes: list[ClassAgreement]
    """Of the last of these, the one that can be judged worst first."""


def agreement(session: Session) -> Agreement:
    """How far the models agree with the given labels, whatever is suspected. Raises NothingToDo where no pair is complete,
    or its votes are not counted yet."""
    ledger = session.ledger
    found = counted.by_round(ledger)
    if not found:
        raise NothingToDo("No pair of a round is complete yet.", hint="Run `dupekit train`.")
    number = found[-1].round
    if rounds.get(ledger, number).tallied_pairs != len(rounds.complete_pairs(ledger, number)):
        raise NothingToDo(
            f"Round {number} has runs whose votes are not counted yet.",
            hint="Run `dupekit flag`, which counts them.",
        )
    return Agreement([_of_round(one) for one in found], _of_classes(counted.by_class(ledger, number)))


def _of_round(one: counted.RoundCounts) -> RoundAgreement:
    chance = one.largest / one.images
    near = near_chance(one.agreement, chance)
    return RoundAgreement(one.round, one.images, one.classes, one.agreement, chance, near)


def _of_classes(counts: list[counted.ClassCounts]) -> list[ClassAgreement]:
    predictions = sum(one.predictions for one in counts)
    trained = Counter(one.trained_as for one in counts)
    classes = []
    for one in counts:
        share = one.agreeing / one.predictions
        chance = max(one.naming / predictions, 1 / len(trained))
        near = near_chance(share, chance)
        other = one.trained_as != one.label or trained[one.trained_as] > 1
        within = one.trained_as if other else None
        classes.append(ClassAgreement(one.label, one.images, share, chance, near, within))
    return sorted(classes, key=lambda one: (not one.near_chance, one.agreement, one.label))
