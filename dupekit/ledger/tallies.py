"""Table `tallies`: votes and scores of a round, and which images are suspects by a rule."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.ledger.database import Ledger, as_columns
from dupekit.ledger.images import Columns
from dupekit.rounds.rules import Rule, RuleName, Suspect
from dupekit.rounds.stability import Stability
from dupekit.rounds.tally import Tally


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Every image of a round, as columns sorted by path."""

    paths: list[str]
    given: list[str]
    """Labels."""
    suggested: list[str]
    votes: NDArray[np.int32]
    scores: NDArray[np.float64]
    contradicted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Votes and scores of every image of a round, in the order of their numbers."""

    votes: NDArray[np.int32]
    scores: NDArray[np.float64]
    contradicted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many images of a round are suspects, and how many are not, for one reason or another."""

    suspects: int
    """By the rule that was asked for, without those on the ignore list."""
    waiting: int
    """Of these, those that are neither decided nor in a tree that was not called back."""
    ignored: int
    """How many more suspects there would be without the ignore list."""
    by_other_rule: int
    """How many suspects the other rule would give."""
    outdated: int
    """Images that are gone, or have another content than was predicted."""


@dataclass(frozen=True, slots=True, eq=False)
class Unsuspected:
    """Images that an audit may be drawn from, in the order of their numbers."""

    images: NDArray[np.int64]
    """The ledger's numbers."""
    scores: NDArray[np.float64]


def replace(
    ledger: Ledger,
    round_number: int,
    tallies: Iterable[Tally],
    *,
    images: NDArray[np.int64],
    given: NDArray[np.int64],
    contradicting: NDArray[np.int64],
    digests: Sequence[str],
    class_numbers: NDArray[np.int64],
    pairs: int,
) -> None:
    """Records a round's tallies in place of earlier ones, and how stable they are, in one transaction.

    `images` and `given` hold the ledger's numbers of images and classes, row for row of the tally;
    `contradicting` is as `rounds.tally.contradictions` gives it: the class that such an image is given is the one suggested.
    `class_numbers` are those of the tally's classes, by which all other suggestions are known.
    """
    stability: Stability | None = None
    counted = list(
        tallies
    )  # before the transaction: in a large one nobody else can read, and counting takes longer than writing
    with ledger.write() as db:
        db.execute("DELETE FROM tallies WHERE round = ?", (round_number,))
        for part in counted:
            if part.score_before is not None:
                own = Stability.between(part.score_before, part.score)
                stability = own if stability is None else stability + own
            rows = slice(part.start, part.start + len(part.votes))
            suggested = np.where(part.contradicted, given[contradicting[rows]], class_numbers[part.suggested])
            db.executemany(
                "INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                zip(
                    [round_number] * len(part.votes),
                    images[rows].tolist(),
                    given[rows].tolist(),
                    digests[rows],
                    part.predictions.tolist(),
                    suggested.tolist(),
                    part.votes.tolist(),
                    part.p_given.tolist(),
                    part.p_suggested.tolist(),
                    part.p_other.tolist(),
                    part.score.tolist(),
                    part.contradicted.tolist(),
                    strict=True,
                ),
            )
        changed, strong = (stability.changed, stability.images) if stability else (None, None)
        db.execute(
            "UPDATE rounds SET tallied_pairs = ?, strong_changed = ?, strong_images = ? WHERE id = ?",
            (pairs, changed, strong, round_number),
        )


SAME = "images.state = 'ok' AND images.digest = tallies.digest"
"""The image still holds what was trained on and predicted."""

# IN, so that SQLite works the list out once; CASE, because a bare NOT IN of two columns searches the whole list for
# NULL again for every image (measured: 164 s, not 1.5 s, for 230,000 candidates and a list of 20,000).
IGNORED = """
    CASE WHEN (tallies.digest, given) IN (SELECT digest, classes.id FROM ignores JOIN classes ON name = label)
        THEN 1 ELSE 0 END"""


def by_rule(rule: Rule) -> str:
    """The condition that `Rule.flags` stands for."""
    return (
        f"(contradicted OR {f'votes >= {rule.threshold:d}' if rule.name is RuleName.VOTES else 'score > 0'})"
    )


_SHOWN = (
    "SELECT image, path, tallies.digest, g.name, s.name, votes, score, p_given, p_suggested, contradicted"
)
# What is certain comes first, identical images beside each other.
MOST_SUSPICIOUS_FIRST = "ORDER BY contradicted DESC, iif(contradicted, tallies.digest, ''), score DESC, path"
_CANDIDATES = """
    FROM tallies
    JOIN images ON images.id = image
    JOIN classes AS g ON g.id = given
    JOIN classes AS s ON s.id = suggested
    WHERE round = ?"""


def suspects(ledger: Ledger, round_number: int, rule: Rule) -> list[Suspect]:
    """The images that the rule flags and that are not on the ignore list, most suspicious first.

    First come those whose label an identical image contradicts, which stand beside each other. Equal scores are ordered by
    path.
    """
    found = ledger.rows(
        f"{_SHOWN} {_CANDIDATES} AND {by_rule(rule)} AND NOT {IGNORED} AND {SAME} {MOST_SUSPICIOUS_FIRST}",
        (round_number,),
    )
    return [_suspect(row) for row in found]


# Neither decided nor in a tree that was not called back; parameters: the round, twice.
_WAITING = """
    image NOT IN (SELECT image FROM exported_files JOIN exports ON exports.id = export
                  WHERE exports.round = ? AND withdrawn IS NULL)
    AND image NOT IN (SELECT image FROM current_verdicts WHERE round = ?)"""


def waiting(ledger: Ledger, round_number: int, rule: Rule) -> list[Suspect]:
    """The suspects that the next batches are taken from, most suspicious first: neither decided nor out."""
    found = ledger.rows(
        f"{_SHOWN} {_CANDIDATES} AND {by_rule(rule)} AND NOT {IGNORED} AND {SAME} AND {_WAITING}"
        f" {MOST_SUSPICIOUS_FIRST}",
        (round_number,) * 3,
    )
    return [_suspect(row) for row in found]


def counts(ledger: Ledger, round_number: int, rule: Rule) -> Counts:
    """In one pass over the round: of what neither rule flags only the content is compared."""
    own, other = by_rule(rule), by_rule(rule.other)
    found = ledger.rows(
        f"""
        WITH found AS MATERIALIZED (
            SELECT {own} AS own, {other} AS other, {SAME} AS same, {IGNORED} AS ignored, {_WAITING} AS waiting
            FROM tallies CROSS JOIN images ON images.id = image WHERE round = ? AND ({own} OR {other} OR NOT ({SAME})))
        SELECT sum(own AND same AND NOT ignored), sum(own AND same AND NOT ignored AND waiting), sum(own AND same AND ignored),
            sum(other AND same AND NOT ignored), sum(NOT same) FROM found
        """,
        (round_number,) * 3,
    )
    return Counts(*(number or 0 for number in found.fetchone()))


def ignored(ledger: Ledger, round_number: int) -> list[int]:
    """The round's images that are on the ignore list: for a whole round this costs half of what `IGNORED` does for each."""
    found = ledger.rows(
        """
        WITH listed AS MATERIALIZED (
            SELECT ignores.digest AS content, classes.id AS class FROM ignores JOIN classes ON name = label)
        SELECT image FROM tallies CROSS JOIN listed ON content = digest AND class = given WHERE tallies.round = ?
        """,
        (round_number,),
    )
    return [image for (image,) in found]


def unsuspected(ledger: Ledger, round_number: int, rule: Rule) -> Unsuspected:
    """The images that are no suspects, and neither decided, out, on the ignore list nor changed."""
    rows = ledger.rows(
        f"SELECT image, score {_CANDIDATES} AND NOT {by_rule(rule)} AND NOT {IGNORED} AND {SAME} AND {_WAITING} ORDER BY image",
        (round_number,) * 3,
    )
    return Unsuspected(*as_columns(rows, "i8, f8"))


def of_images(ledger: Ledger, round_number: int, images: Iterable[int]) -> list[Suspect]:
    """What was counted of these images, in their order; without those that are gone or changed since."""
    found = []
    for image in images:
        row = ledger.rows(
            f"{_SHOWN} {_CANDIDATES} AND image = ? AND {SAME}", (round_number, image)
        ).fetchone()
        if row:
            found.append(_suspect(row))
    return found


_NOT_BEFORE = """
    CASE WHEN (tallies.digest, g.name) IN (SELECT digest, label FROM ignores WHERE round < ?) THEN 0 ELSE 1 END"""


def count_of_round(ledger: Ledger, round_number: int, rule: Rule) -> int:
    """How many suspects a round had, whatever has become of the images since: without what was put on the ignore list in
    rounds before it."""
    found: int = ledger.value(
        f"SELECT count(*) {_CANDIDATES} AND {by_rule(rule)} AND {_NOT_BEFORE}",
        (round_number,) * 2,
    )
    return found


def suspects_of_round(ledger: Ledger, round_number: int, rule: Rule, *, limit: int) -> list[Suspect]:
    """The first of these, most suspicious first: decided or not."""
    found = ledger.rows(
        f"{_SHOWN} {_CANDIDATES} AND {by_rule(rule)} AND {_NOT_BEFORE} {MOST_SUSPICIOUS_FIRST} LIMIT ?",
        (round_number, round_number, limit),
    )
    return [_suspect(row) for row in found]


def images_of(ledger: Ledger, round_number: int) -> Columns | None:
    """The images of a round as they were when votes were counted; None where none were.

    Widths and heights are those of the last scan.
    """
    rows = ledger.rows(
        """
        SELECT image, path, given, tallies.digest, width, height FROM tallies
        JOIN images ON images.id = image WHERE round = ? ORDER BY image
        """,
        (round_number,),
    )
    found = Columns.of(ledger, rows)
    return found if len(found.ids) else None


def scores(ledger: Ledger, round_number: int) -> Scores:
    """What was counted of every image of the round."""
    rows = ledger.rows(
        """
        SELECT path, g.name, s.name, votes, score, contradicted FROM tallies
        JOIN images ON images.id = image
        JOIN classes AS g ON g.id = given
        JOIN classes AS s ON s.id = suggested
        WHERE round = ? ORDER BY path
        """,
        (round_number,),
    ).fetchall()
    return Scores(
        [row[0] for row in rows],
        [sys.intern(row[1]) for row in rows],
        [sys.intern(row[2]) for row in rows],
        np.array([row[3] for row in rows], np.int32),
        np.array([row[4] for row in rows], np.float64),
        np.array([row[5] for row in rows], bool),
    )


def figures(ledger: Ledger, round_number: int) -> Figures:
    """A dozen bytes an image, whatever its path."""
    rows = ledger.rows(
        "SELECT votes, score, contradicted FROM tallies WHERE round = ? ORDER BY image", (round_number,)
    )
    return Figures(*as_columns(rows, "i4, f8, ?"))


def _suspect(row: Sequence[Any]) -> Suspect:
    columns = [*row]
    columns[-1] = bool(columns[-1])
    return Suspect(*columns)
