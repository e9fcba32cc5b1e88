"""Steps of the review, in order, and taking them back: tables `collections`, `verdicts`, `applications`.

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


@dataclass(frozen=True, slots=True)
class Step:
    """A collect that changed verdicts, or an apply."""

    number: int
    """In its own table."""
    what: StepKind
    round: int
    at: str
    who: str | None
    """None for an apply that an older dupekit recorded."""
    count: int
    """Verdicts that were new or changed, or corrections applied."""
    place: str
    """From where the review tree was collected, or where the corrected dataset lies: absolute, escaped."""
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
                coalesce(decided.count, 0) AS count, iif(c.tree = '', exports.tree, c.tree) AS place, undone,
                c.id AS last_collect
            FROM collections AS c JOIN exports ON exports.id = c.export
            LEFT JOIN (SELECT collection, count(*) AS count FROM verdicts GROUP BY collection) AS decided
                ON decided.collection = c.id
            UNION ALL
            SELECT id, 'apply', round, at, who,
                (SELECT count(*) FROM corrections WHERE application = applications.id), destination, undone,
                coalesce(collection, 0)
            FROM applications
        ) ORDER BY last_collect, what = 'apply', number
        """
    )
    return [Step(row[0], StepKind(row[1]), *row[2:]) for row in found]


def undo(ledger: Ledger) -> Step | None:
    """Takes back the last step that stands, whatever its round, and returns it; None where none stands.

    Raises UsageError where it is an apply of a closed round: the next round is on what it wrote. A collect of a
    closed round has changed nothing but the ignore list, or an apply would follow it.
    """
    with ledger.write() as db:
        standing = [step for step in steps(ledger) if step.undone is None]
        if not standing:
            return None
        last = standing[-1]
        if last.what is StepKind.APPLY and ledger.value(
            "SELECT closed FROM rounds WHERE id = ?", (last.round,)
        ):
            raise UsageError(
                f"The last step is the apply of round {last.round} on {last.at}, and `dupekit next` has ended that round:"
                " what came later builds on it, so it is not taken back.",
                hint="Decide anew in the next round; `dupekit ignore remove` takes an image off the ignore list.",
            )
        table = "collections" if last.what is StepKind.COLLECT else "applications"
        db.execute(f"UPDATE {table} SET undone = ? WHERE id = ?", (now(), last.number))
        return last


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
