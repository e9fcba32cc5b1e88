"""How each image of a round stands: what it was predicted as, and what was decided on it. What references are chosen from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.columns import BLOCK, DigestColumn, DigestWriter, TextColumn, TextWriter
from dupekit.ledger.database import Ledger, as_columns, understood
from dupekit.ledger.tallies import IGNORED, SAME
from dupekit.review.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Current:
    """The verdict on an image that counts now."""

    verdict: Verdict
    label: str
    """That it shall have."""


@dataclass(frozen=True, slots=True, eq=False)
class Standings:
    """Every image of a round, as columns of n sorted by `images`. Paths and labels are escaped text."""

    images: NDArray[np.int64]
    """The ledger's numbers."""
    paths: TextColumn
    given: list[str]
    digests: DigestColumn
    """When votes were counted."""
    votes: NDArray[np.int64]
    scores: NDArray[np.float64]
    contradicted: NDArray[np.bool_]
    probability_given: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    """On the ignore list: confirmed, in whatever round."""
    unchanged: NDArray[np.bool_]
    """Its file still holds what was predicted."""
    verdicts: dict[int, Current]
    """What counts now of the images that were decided on, by their numbers."""


def standings(ledger: Ledger, round_number: int) -> Standings:
    """None of them while no pair of the round is complete."""
    rows = ledger.rows(
        f"""
        SELECT image, path, g.name, tallies.digest, votes, score, contradicted, p_given, {IGNORED}, {SAME}
        FROM tallies JOIN images ON images.id = image JOIN classes AS g ON g.id = given WHERE round = ? ORDER BY image
        """,
        (round_number,),
    )
    paths, digests = TextWriter(), DigestWriter()
    given: list[str] = []

    def figures() -> Iterator[tuple[int, int, float, int, float, int, int]]:
        left = iter(rows)
        while block := list(islice(left, BLOCK)):  # for there may be millions
            paths.extend(row[1] for row in block)
            given.extend(sys.intern(row[2]) for row in block)
            understood(digests.extend, [row[3] for row in block])
            for image, _, _, _, *rest in block:
                yield (image, *rest)

    numbers, votes, scores, contradicted, probability_given, ignored, unchanged = as_columns(
        figures(), "i8, i8, f8, ?, f8, ?, ?"
    )
    verdicts = ledger.rows(
        "SELECT image, verdict, label FROM current_verdicts WHERE round = ?", (round_number,)
    )
    return Standings(
        numbers,
        paths.column(),
        given,
        digests.column(),
        votes,
        scores,
        contradicted,
        probability_given,
        ignored,
        unchanged,
        {image: Current(understood(Verdict, verdict), label) for image, verdict, label in verdicts},
    )
