"""Second opinions: what two people said of the same images. From the view `opinions`."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.ledger.database import Ledger, understood
from dupekit.review.two_people import TwoPeople, compared
from dupekit.review.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Opinion:
    verdict: Verdict
    label: str
    who: str


@dataclass(frozen=True, slots=True)
class Opinions:
    """What two people said of one image, at last."""

    path: str
    """In the dataset."""
    given: str
    first: Opinion
    """From a review."""
    second: Opinion
    settled: bool
    """Whether somebody has decided between them."""

    @property
    def sure(self) -> bool:
        """Whether neither is unsure."""
        return Verdict.UNSURE not in (self.first.verdict, self.second.verdict)

    @property
    def disputed(self) -> bool:
        """Such an image counts as unsure."""
        return not self.settled and self.sure and _choice(self.first) != _choice(self.second)


def of_round(ledger: Ledger, round_number: int) -> list[Opinions]:
    """Of all images of a round that two people looked at, by path."""
    found = ledger.rows(
        """
        SELECT path, name, r.verdict, r.label, one.who, s.verdict, s.label, other.who, decision IS NOT NULL
        FROM opinions
        CROSS JOIN verdicts AS r ON r.id = review
        CROSS JOIN verdicts AS s ON s.id = second
        CROSS JOIN collections AS one ON one.id = r.collection
        CROSS JOIN collections AS other ON other.id = s.collection
        CROSS JOIN images ON images.id = opinions.image
        CROSS JOIN classes ON classes.id = class
        WHERE opinions.round = ? ORDER BY path
        """,
        (round_number,),
    )
    return [
        Opinions(path, given, _opinion(*row[:3]), _opinion(*row[3:6]), bool(row[6]))
        for path, given, *row in found
    ]


def two_people(found: list[Opinions]) -> TwoPeople:
    """How far two people agree where neither is unsure; each new label is a choice of its own."""
    return compared([(_choice(one.first), _choice(one.second)) for one in found if one.sure])


def _opinion(verdict: str, label: str, who: str) -> Opinion:
    return Opinion(understood(Verdict, verdict), label, who)


def _choice(opinion: Opinion) -> str:
    return f"{opinion.verdict} {opinion.label}"
