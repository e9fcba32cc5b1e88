"""Tables `applications` and `corrections`: the corrected datasets that were written, and what was corrected in them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dupekit.correct.placements import Correction
from dupekit.ledger.database import Ledger, understood
from dupekit.ledger.images import UNREAD, ImageState, Readable
from dupekit.system.stamp import now


@dataclass(frozen=True, slots=True)
class Application:
    """A corrected dataset that was written."""

    number: int
    round: int
    destination: str
    """Absolute, escaped."""
    mode: str
    at: str


class WrittenFile(NamedTuple):
    """A file of a corrected dataset. A tuple, for it is made a million times."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class SeenCorrection:
    """A correction, and what the last scan saw where the corrected dataset has it."""

    path: str
    """In the corrected dataset; of what was expunged, where it lay before."""
    expunged: bool
    digest: str
    """Of the image that was corrected."""
    state: ImageState | None
    """None where no scan ever saw an image of this path."""
    digest_there: str | None


def record(
    ledger: Ledger,
    *,
    round_number: int,
    destination: str,
    mode: str,
    who: str,
    made: Sequence[Correction],
    new_paths: Mapping[int, str],
    movable: bool = False,
    once: bool = False,
) -> None:
    """Records that a corrected dataset was written, and what was corrected in it; with `once` not where the round's last
    application is this one. `new_paths` has the place of each corrected image that is in it; with `movable` the dataset goes with
    the project."""
    rows = [
        (c.image, c.path, c.old_label, c.new_label or "", new_paths.get(c.image, ""), c.digest)
        for c in sorted(made, key=lambda correction: correction.image)
    ]
    if once and _is_last(ledger, round_number, destination, mode, rows):
        return
    with ledger.write() as db:
        number = db.execute(
            "INSERT INTO applications (round, at, destination, mode, who, collection)"
            " VALUES (?, ?, ?, ?, ?, (SELECT max(id) FROM collections))",
            (round_number, now(), ledger.as_recorded(destination, movable=movable), mode, who),
        ).lastrowid
        db.executemany(
            "INSERT INTO corrections VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(number, *row) for row in rows],
        )


def _is_last(
    ledger: Ledger, round_number: int, destination: str, mode: str, rows: Sequence[tuple[object, ...]]
) -> bool:
    last = of_round(ledger, round_number)[-1:]
    if not last or (last[0].destination, last[0].mode) != (destination, mode):
        return False
    recorded = ledger.rows(
        "SELECT image, path, old_label, new_label, new_path, digest FROM corrections"
        " WHERE application = ? ORDER BY image",
        (last[0].number,),
    )
    return recorded.fetchall() == list(rows)


def of_round(ledger: Ledger, round_number: int) -> list[Application]:
    """Those of this round that were not undone, in order."""
    return _applications(ledger, "WHERE round = ? AND undone IS NULL ORDER BY id", round_number)


def last(ledger: Ledger) -> Application | None:
    """The last one, of whatever round, that was not undone."""
    return next(iter(_applications(ledger, "WHERE undone IS NULL ORDER BY id DESC LIMIT 1")), None)


def every(ledger: Ledger) -> list[Application]:
    """All, undone or not, the last one first."""
    return _applications(ledger, "ORDER BY id DESC")


def _applications(ledger: Ledger, which: str, *values: int) -> list[Application]:
    found = ledger.rows(f"SELECT id, round, placed(destination), mode, at FROM applications {which}", values)
    return [Application(*row) for row in found]


def labels(ledger: Ledger, round_number: int) -> dict[tuple[str, str], str | None]:
    """Content and given label -> label in the round's last corrected dataset that is not undone; None: expunged."""
    found = ledger.rows(
        """
        SELECT digest, old_label, nullif(new_label, '') FROM corrections WHERE application = (
            SELECT max(id) FROM applications WHERE round = ? AND undone IS NULL)
        """,
        (round_number,),
    )
    return {(digest, old_label): new_label for digest, old_label, new_label in found}


def written(ledger: Ledger, application: int) -> Iterator[WrittenFile]:
    """What was written to a corrected dataset, by path, as far as the last scan saw its images."""
    corrected = ledger.rows("SELECT image FROM corrections WHERE application = ?", (application,))
    leaving = {image for (image,) in corrected}
    moved = ledger.rows(
        """
        SELECT new_path, size, images.digest FROM corrections JOIN images ON images.id = image
        WHERE application = ? AND new_path != '' AND state != 'gone' AND mtime_ns != ? ORDER BY new_path
        """,
        (application, UNREAD),
    ).fetchall()
    stays = (
        WrittenFile(source.path, source.size, source.digest)
        for of_class in Readable.of(ledger).values()
        for source in of_class
        if source.image not in leaving
    )
    return heapq.merge(stays, map(WrittenFile._make, moved))


def corrections(ledger: Ledger, application: int) -> list[SeenCorrection]:
    """What was corrected, by path, as the last scan saw it."""
    found = ledger.rows(
        """
        SELECT c.at, c.new_path = '', c.digest, images.state, images.digest
        FROM (SELECT *, iif(new_path = '', path, new_path) AS at FROM corrections) AS c
        LEFT JOIN images ON images.path = c.at
        WHERE c.application = ? ORDER BY c.at
        """,
        (application,),
    )
    return [
        SeenCorrection(path, bool(expunged), digest, state and understood(ImageState, state), there)
        for path, expunged, digest, state, there in found
    ]
