"""Tables `collections` and `verdicts`: what was decided in the review trees, and when. Of an image the latest counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from dupekit.correct.resolve import Decision, Held, Resolution, resolve
from dupekit.errors import LedgerError
from dupekit.ledger import exports
from dupekit.ledger.database import Ledger, understood
from dupekit.ledger.exports import Export
from dupekit.ledger.images import UNREAD
from dupekit.review.evidence import Earlier
from dupekit.review.verdicts import FileVerdict, Verdict
from dupekit.system.stamp import now


@dataclass(frozen=True, slots=True)
class Overruled:
    """A verdict of a tree that does not count, for a later collect of another tree decided otherwise."""

    verdict: FileVerdict
    tree: str
    """The place of the other tree: absolute, escaped."""
    at: str
    """When that was collected."""


def labels_elsewhere(ledger: Ledger, export: Export) -> list[str]:
    """Every label of an image that there is or that was decided in other trees, in the order of their first appearance."""
    found = ledger.rows(
        """
        SELECT name FROM (SELECT name, 0 AS later, id FROM classes UNION ALL
            SELECT label, 1, min(verdicts.id) FROM verdicts JOIN collections ON collections.id = collection
            WHERE verdict = ? AND export != ? AND undone IS NULL GROUP BY label)
        ORDER BY later, id
        """,
        (Verdict.RELABEL, export.number),
    )
    return [label for (label,) in found]


def record(
    ledger: Ledger,
    export: Export,
    verdicts: Sequence[FileVerdict],
    *,
    who: str,
    tree: str,
    finished: Collection[str],
    check: Callable[[list[FileVerdict]], None],
) -> list[FileVerdict]:
    """Records the verdicts that differ from those recorded of this tree before; the ignore list follows from them.

    `tree` is where it lies now: absolute, escaped; `finished` are the classes that somebody says are finished. Returns the
    verdicts that changed; with none, nothing is written. What is open changes only what this tree said before: silence is
    no verdict. `check` gets them first, and may raise.
    """
    numbered = _with_numbers(ledger, export, verdicts)
    # Compared with this tree, not with what counts: an older tree that nobody has touched since must not take
    # back what was decided in a newer one.
    of_this_tree = {
        image: (verdict, label)
        for image, verdict, label in ledger.rows(
            """
            SELECT image, verdict, label FROM verdicts WHERE id IN (
                SELECT max(verdicts.id) FROM verdicts JOIN collections ON collections.id = collection
                WHERE export = ? AND undone IS NULL GROUP BY image)
            """,
            (export.number,),
        )
    }
    changes = [
        (v, image)
        for v, image in numbered
        if of_this_tree.get(image, (Verdict.OPEN, v.file.given)) != (v.verdict, v.label)
    ]
    changed = [v for v, _ in changes]
    if not changed:
        return []
    check(changed)
    before = {
        image: f"{verdict} {label}"
        for image, verdict, label in ledger.rows(
            "SELECT image, verdict, label FROM current_verdicts WHERE round = ?", (export.round,)
        )
    }
    with ledger.write() as db:
        collection = db.execute(
            "INSERT INTO collections (export, at, who, tree) VALUES (?, ?, ?, ?)",
            (export.number, now(), who, tree),
        ).lastrowid
        db.executemany(
            "INSERT INTO verdicts (collection, round, image, verdict, label, previous, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (collection, export.round, image, v.verdict, v.label, before.get(image, ""), v.file.digest)
                for v, image in changes
            ],
        )
        db.executemany("INSERT INTO finished VALUES (?, ?)", [(collection, label) for label in finished])
    return changed


def finished(ledger: Ledger, export: Export) -> frozenset[str]:
    """The classes of a tree that somebody said were finished, in a collect that stands."""
    found = ledger.rows(
        "SELECT label FROM finished JOIN collections ON collections.id = collection"
        " WHERE export = ? AND undone IS NULL",
        (export.number,),
    )
    return frozenset(label for (label,) in found)


def earlier(ledger: Ledger, export: Export) -> dict[str, Earlier]:
    """What counts now of an export's files, by their paths in the tree, whichever tree it was decided in."""
    current = _current(ledger, export.round)
    numbers = exports.numbers(ledger, export.number)
    found = {path: current[image] for path, image in numbers.items() if image in current}
    return {
        path: Earlier(
            understood(Verdict, one.verdict), one.label, one.exported_to, one.export == export.number
        )
        for path, one in found.items()
    }


def overruled(ledger: Ledger, export: Export, verdicts: Iterable[FileVerdict]) -> list[Overruled]:
    """Of a tree's recorded verdicts those that do not count."""
    current = _current(ledger, export.round)
    found = []
    for v, image in _with_numbers(ledger, export, verdicts):
        one = current.get(image)
        if one and v.verdict is not Verdict.OPEN and (one.verdict, one.label) != (v.verdict, v.label):
            found.append(Overruled(v, one.collected_from or one.exported_to, one.at))
    return found


@dataclass(frozen=True, slots=True)
class _Current:
    """The verdict that counts of an image, and where it comes from."""

    verdict: str
    label: str
    at: str
    export: int
    exported_to: str
    collected_from: str


def _current(ledger: Ledger, round_number: int) -> dict[int, _Current]:
    """Image -> what counts of it now in a round. Joined with an export's files in memory: by SQLite, which has no index of
    those by image, it took a pass over all of them for every verdict."""
    found = ledger.rows(
        """
        SELECT image, verdict, label, at, export, exports.tree, collections.tree FROM current_verdicts AS v
        JOIN collections ON collections.id = v.collection
        JOIN exports ON exports.id = export
        WHERE v.round = ?
        """,
        (round_number,),
    )
    return {image: _Current(*rest) for image, *rest in found}


def _with_numbers(
    ledger: Ledger, export: Export, verdicts: Iterable[FileVerdict]
) -> list[tuple[FileVerdict, int]]:
    """Verdicts with the ledger's numbers of their images."""
    numbers = exports.numbers(ledger, export.number)
    try:
        return [(v, numbers[v.file.path]) for v in verdicts]
    except KeyError as missing:
        raise LedgerError(
            f"The ledger knows no file {missing} of the tree {export.tree}, and the manifest does.",
            hint="One of the two is damaged: restore it from a backup. `dupekit verify` looks at both.",
        ) from None


def counts(ledger: Ledger, round_number: int) -> dict[str, int]:
    """How many images of the round have each verdict now."""
    found = ledger.rows(
        "SELECT verdict, count(*) FROM current_verdicts WHERE round = ? GROUP BY verdict", (round_number,)
    )
    return {understood(Verdict, verdict): number for verdict, number in found}


def resolved(ledger: Ledger, round_number: int) -> Resolution:
    """What the round's verdicts come to in the dataset that the last scan saw."""
    decisions = [
        Decision(*row)
        for row in ledger.rows(
            """
            SELECT v.image, images.path, classes.name,
                CASE v.verdict WHEN ? THEN v.label WHEN ? THEN NULL ELSE classes.name END,
                t.votes, t.score, collections.at, t.digest,
                CASE WHEN images.state = 'gone' THEN 'gone' WHEN images.mtime_ns = ? THEN 'unreadable'
                    ELSE 'content changed' END
            FROM current_verdicts AS v
            JOIN images ON images.id = v.image
            JOIN classes ON classes.id = images.class
            JOIN tallies AS t ON t.round = v.round AND t.image = v.image
            JOIN collections ON collections.id = v.collection
            WHERE v.round = ? ORDER BY v.image
            """,
            (Verdict.RELABEL, Verdict.EXPUNGE, UNREAD, round_number),
        )
    ]
    held = ledger.rows(
        """
        SELECT images.id, path, classes.name, images.digest, t.image IS NOT NULL FROM images
        JOIN classes ON classes.id = class
        LEFT JOIN tallies AS t ON t.round = ? AND t.image = images.id AND t.digest = images.digest
        WHERE state != 'gone' AND images.digest IN (
            SELECT t.digest FROM current_verdicts AS v
            JOIN tallies AS t ON t.round = v.round AND t.image = v.image WHERE v.round = ?)
        """,
        (round_number, round_number),
    )
    return resolve(decisions, [Held(*row) for row in held])
