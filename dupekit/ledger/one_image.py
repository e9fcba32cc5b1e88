"""All that the ledger holds of one image: what `explain` asks for."""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.jobs.files import Half
from dupekit.ledger.database import Ledger, understood
from dupekit.ledger.exports import Purpose
from dupekit.ledger.images import ImageState
from dupekit.ledger.rounds import RunState
from dupekit.review.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image as the last scan saw it."""

    number: int
    path: str
    label: str
    digest: str
    """Empty where it was never read."""
    width: int
    height: int
    state: ImageState
    problem: str | None
    """Why it cannot be used."""


@dataclass(frozen=True, slots=True)
class RunSays:
    """What one run says of the image."""

    pair: int
    half: Half
    predicted: str
    probability: float
    probability_given: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of the image in a round."""

    round: int
    given: str
    digest: str
    predictions: int
    suggested: str
    votes: int
    score: float
    probability_given: float
    probability_suggested: float
    contradicted: bool
    """An identical image of the round has another label: the one suggested."""
    verdict: Verdict | None
    """That counts now; None where nothing was decided."""
    label: str | None
    """That it shall have by that."""
    disputed: bool
    """Two people differ, so that it counts as unsure."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A byte-identical image."""

    path: str
    label: str


@dataclass(frozen=True, slots=True)
class OutIn:
    """A tree that was not called back and holds the image."""

    round: int
    tree: str
    """Where it was collected last, else written: absolute, escaped."""
    path: str
    """In the tree, as it was exported: escaped."""
    created: str
    purpose: Purpose


def find(ledger: Ledger, path: str) -> ImageRow | None:
    """By its escaped path in the dataset; also one that is gone."""
    return _row(ledger, "path = ?", path)


def of_number(ledger: Ledger, image: int) -> ImageRow | None:
    return _row(ledger, "images.id = ?", image)


def _row(ledger: Ledger, condition: str, value: str | int) -> ImageRow | None:
    row = ledger.rows(
        f"""
        SELECT images.id, path, name, digest, width, height, state, nullif(problem, '')
        FROM images JOIN classes ON classes.id = class WHERE {condition}
        """,
        (value,),
    ).fetchone()
    if row is None:
        return None
    found = list(row)
    found[6] = understood(ImageState, found[6])
    return ImageRow(*found)


def in_trees(ledger: Ledger, path: str) -> int | None:
    """The number of the image that lies so in a tree, of several trees in the last that was exported."""
    found: int | None = ledger.value(
        "SELECT image FROM exports JOIN exported_files ON export = exports.id AND path = ? ORDER BY exports.id DESC",
        (path,),
    )
    return found


def predictions(ledger: Ledger, image: int, round_number: int) -> list[RunSays]:
    """By pair; those that are recorded, whether their pairs are complete or not."""
    rows = ledger.rows(
        """
        SELECT pair, half, name, probability, probability_given FROM runs
        CROSS JOIN predictions ON run = runs.id AND image = ?
        JOIN classes ON classes.id = predicted
        WHERE round = ? AND state = ? ORDER BY pair, half
        """,
        (image, round_number, RunState.DONE),
    )
    return [RunSays(pair, understood(Half, half), *rest) for pair, half, *rest in rows]


def counted(ledger: Ledger, image: int) -> list[Counted]:
    """What was counted in each round, in their order."""
    rows = ledger.rows(
        """
        SELECT rounds.id, g.name, t.digest, predictions, s.name, votes, score, p_given, p_suggested,
            contradicted, v.verdict, v.label, coalesce(v.disputed, 0)
        FROM rounds CROSS JOIN tallies AS t ON t.round = rounds.id AND t.image = ?1
        JOIN classes AS g ON g.id = given JOIN classes AS s ON s.id = suggested
        LEFT JOIN (SELECT * FROM current_verdicts WHERE image = ?1) AS v ON v.round = t.round
        ORDER BY rounds.id
        """,
        (image,),
    )
    found = []
    for row in map(list, rows):
        row[9:] = bool(row[9]), row[10] and understood(Verdict, row[10]), row[11], bool(row[12])
        found.append(Counted(*row))
    return found


def rank(ledger: Ledger, one: Counted, path: str) -> int:
    """Its place among all images of its round, 1 for the most suspicious, in the order of `tallies.suspects`."""
    before: int = ledger.value(
        """
        SELECT count(*) FROM tallies WHERE round = ? AND
            (-contradicted, iif(contradicted, digest, ''), -score, (SELECT path FROM images WHERE images.id = image))
            < (?, ?, ?, ?)
        """,
        (one.round, -one.contradicted, one.digest if one.contradicted else "", -one.score, path),
    )
    return before + 1


def of_round(ledger: Ledger, round_number: int) -> int:
    """How many images were counted."""
    found: int = ledger.value("SELECT count(*) FROM tallies WHERE round = ?", (round_number,))
    return found


def is_ignored(ledger: Ledger, digest: str, label: str) -> bool:
    return ledger.value("SELECT 1 FROM ignores WHERE digest = ? AND label = ?", (digest, label)) is not None


def copies(ledger: Ledger, one: ImageRow) -> list[Copy]:
    """The other images of its content, by path."""
    if not one.digest:
        return []
    rows = ledger.rows(
        """
        SELECT path, name FROM images JOIN classes ON classes.id = class
        WHERE digest = ? AND images.id != ? AND state != 'gone' ORDER BY path
        """,
        (one.digest, one.number),
    )
    return [Copy(*row) for row in rows]


def out_in(ledger: Ledger, image: int) -> list[OutIn]:
    """Trees that hold it and were not called back, of rounds that have not ended, in the order in which they were exported."""
    rows = ledger.rows(
        """
        SELECT exports.round, placed(coalesce((SELECT tree FROM collections WHERE export = exports.id AND undone IS NULL
            AND tree != '' ORDER BY id DESC LIMIT 1), exports.tree)), f.path, created, purpose
        FROM exports JOIN rounds ON rounds.id = exports.round
        JOIN exported_files AS f ON f.export = exports.id AND f.image = ?
        WHERE withdrawn IS NULL AND closed IS NULL ORDER BY exports.id
        """,
        (image,),
    )
    found = []
    for row in map(list, rows):
        row[4] = understood(Purpose, row[4])
        found.append(OutIn(*row))
    return found


def with_name(ledger: Ledger, name: str, *, limit: int) -> list[str]:
    """Paths of images whose file has this name, whatever folder it lies in, in any case of letters."""
    rows = ledger.rows(
        "SELECT path FROM images WHERE state != 'gone' AND lower(substr(path, -length(?1))) = lower(?1) ORDER BY path LIMIT ?2",
        (f"/{name}", limit),
    )
    return [path for (path,) in rows]


def in_class(ledger: Ledger, label: str, *, limit: int) -> list[str]:
    """Paths of a class's images."""
    rows = ledger.rows(
        "SELECT path FROM images JOIN classes ON classes.id = class WHERE name = ? AND state != 'gone' ORDER BY path LIMIT ?",
        (label, limit),
    )
    return [path for (path,) in rows]
