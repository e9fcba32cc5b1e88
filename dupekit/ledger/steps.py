"""Steps of the review, in order, and taking them back: tables `collections`, `verdicts`, `applications`, `endings`.

Nothing is deleted: a step taken back has a time in `undone`, and every other query passes over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dupekit.errors import UsageError
from dupekit.ledger.database import Ledger
from dupekit.system.stamp import now


class StepKind(StrEnum):
    COLLECT = "collect"
    APPLY = "apply"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Step:
    """A collect that changed verdicts, an apply, or the end of a round."""

    number: int
    """In its own table."""
    what: StepKind
    round: int
    at: str
    who: str | None
    """None for an apply, or the end of a round, that an older dupekit recorded."""
    count: int
    """Verdicts that were new or changed, or corrections applied; 0 for the end of a round."""
    place: str | None
    """From where the review tree was collected, where the corrected dataset lies, or on which dataset the next round is:
    escaped. None for the end of a round that an older dupekit recorded."""
    undone: str | None
    """When it was taken back."""


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict on an image, as it was recorded."""

    round: int
    at: str
    who: str
    previous: str | None
    """Verdict and label before, as in "relabel Bacillaria"; None for the first."""
    verdict: str
    label: str
    undone: str | None


def steps(ledger: Ledger) -> list[Step]:
    """All steps, in the order in which they were taken."""
    found = ledger.rows(
        """
        SELECT number, what, round, at, nullif(who, ''), count, place, undone FROM (
            SELECT c.id AS number, 'collect' AS what, exports.round AS round, c.at AS at, who,
                coalesce(decided.count, 0) AS count, placed(iif(c.tree = '', exports.tree, c.tree)) AS place, undone,
                c.id AS last_collect, 0 AS last_apply
            FROM collections AS c JOIN exports ON exports.id = c.export
            LEFT JOIN (SELECT collection, count(*) AS count FROM verdicts GROUP BY collection) AS decided
                ON decided.collection = c.id
            UNION ALL
            SELECT id, 'apply', round, at, who,
                (SELECT count(*) FROM corrections WHERE application = applications.id), placed(destination), undone,
                coalesce(collection, 0), id
            FROM applications
            UNION ALL
            SELECT id, 'next', round, at, who, 0, dataset, undone, coalesce(collection, 0), coalesce(application, 0)
            FROM endings
        ) ORDER BY last_collect, last_apply, what = 'next', number
        """
    )
    return [Step(row[0], StepKind(row[1]), *row[2:]) for row in found]


def last(ledger: Ledger) -> Step | None:
    """The last step that stands, whatever its round; None where none stands."""
    return next((step for step in reversed(steps(ledger)) if step.undone is None), None)


def take_back(ledger: Ledger, step: Step) -> None:
    """Takes back a collect or an apply; the end of a round is taken back by `endings`."""
    table = "collections" if step.what is StepKind.COLLECT else "applications"
    with ledger.write() as db:
        db.execute(f"UPDATE {table} SET undone = ? WHERE id = ?", (now(), step.number))


def changes(ledger: Ledger, path: str) -> list[Change]:
    """What was decided on an image, first to last, undone or not.

    Raises UsageError where the ledger never knew an image of this path.
    """
    image = ledger.value("SELECT id FROM images WHERE path = ?", (path,))
    if image is None:
        raise UsageError(
            f"The dataset never had an image {path}.",
            hint="Give paths as `dupekit flag` prints them, relative to the dataset.",
        )
    found = ledger.rows(
        """
        SELECT round, at, who, nullif(previous, ''), verdict, label, undone
        FROM verdicts JOIN collections ON collections.id = collection WHERE image = ? ORDER BY verdicts.id
        """,
        (image,),
    )
    return [Change(*row) for row in found]
