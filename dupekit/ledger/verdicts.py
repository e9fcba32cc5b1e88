"""Tables `collections` and `verdicts`: what was decided in the review trees, and when.

Of the trees of one purpose the latest counts for an image. Where a second opinion says otherwise than the review, the
image is disputed and counts as unsure, until a tree that was exported for that decides: the view `current_verdicts`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dupekit.correct.resolve import Decision, Held, Resolution, Unapplied, resolve
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
    """A verdict that does not count, for another tree decided otherwise: one of the same purpose, later, or one that decides
    between two opinions. What a second opinion disputes is not overruled."""

    verdict: FileVerdict
    tree: str
    """The place of the other tree: absolute, escaped."""
    at: str
    """When that was collected."""


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What was decided in a round, and its last corrected dataset that stands has not."""

    corrections: int
    """That `apply` would make."""
    unapplied: list[Unapplied]
    """Decisions that it would not make, for the dataset is not what was decided on any more."""


@contextlib.contextmanager
def worked_out_once(ledger: Ledger) -> Iterator[None]:
    """Within it nothing may be written. What counts is then worked out once, and not by each of many queries anew."""
    with ledger.apart("opinions", "current_verdicts", "ignores"):
        yield


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A verdict on an image, and where it comes from."""

    verdict: str
    label: str
    at: str
    export: int
    tree: str
    """Where that was collected from: absolute, escaped."""


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
    changes = _changes(ledger, export, verdicts)
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
            (export.number, now(), who, ledger.as_recorded(tree)),
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


def changed(ledger: Ledger, export: Export, verdicts: Iterable[FileVerdict]) -> list[FileVerdict]:
    """The verdicts that differ from those recorded of this tree before."""
    return [v for v, _ in _changes(ledger, export, verdicts)]


def _changes(
    ledger: Ledger, export: Export, verdicts: Iterable[FileVerdict]
) -> list[tuple[FileVerdict, int]]:
    # Compared with this tree, not with what counts: an older tree that nobody has touched since must not take
    # back what was decided in a newer one.
    said = recorded(ledger, export)
    return [
        (v, image)
        for v, image in _with_numbers(ledger, export, verdicts)
        if said.get(v.file.path, Earlier(Verdict.OPEN, v.file.given)) != Earlier(v.verdict, v.label)
    ]


def finished(ledger: Ledger, export: Export) -> frozenset[str]:
    """The classes of a tree that somebody said were finished, in a collect that stands."""
    found = ledger.rows(
        "SELECT label FROM finished JOIN collections ON collections.id = collection"
        " WHERE export = ? AND undone IS NULL",
        (export.number,),
    )
    return frozenset(label for (label,) in found)


def recorded(ledger: Ledger, export: Export) -> dict[str, Earlier]:
    """What was recorded of a tree, by the paths of its files; 'open' where that was taken back in it."""
    found = {
        image: Earlier(understood(Verdict, verdict), label)
        for image, verdict, label in ledger.rows(
            """
            SELECT image, verdict, label FROM verdicts WHERE id IN (
                SELECT max(verdicts.id) FROM verdicts JOIN collections ON collections.id = collection
                WHERE export = ? AND undone IS NULL GROUP BY image)
            """,
            (export.number,),
        )
    }
    numbers = exports.numbers(ledger, export.number)
    return {path: found[image] for path, image in numbers.items() if image in found}


def elsewhere(ledger: Ledger, export: Export) -> dict[str, Elsewhere]:
    """What trees of an export's purpose, or one that decides, said last of its files, by their paths in the tree; of those
    that another tree said it of."""
    said = _said(ledger, export)
    numbers = exports.numbers(ledger, export.number)
    return {
        path: one
        for path, image in numbers.items()
        if (one := said.get(image)) and one.export != export.number
    }


def overruled(ledger: Ledger, export: Export, verdicts: Iterable[FileVerdict]) -> list[Overruled]:
    """Of a tree's recorded verdicts those that do not count."""
    said = elsewhere(ledger, export)
    return [
        Overruled(v, one.tree, one.at)
        for v in verdicts
        if v.verdict is not Verdict.OPEN
        and (one := said.get(v.file.path))
        and (one.verdict, one.label) != (v.verdict, v.label)
    ]


def _said(ledger: Ledger, export: Export) -> dict[int, Elsewhere]:
    """Image -> the last verdict from trees of this one's purpose, or from one that decides. Joined with an export's files in
    memory: by SQLite, which has no index of those by image, it took a pass over all of them for every verdict."""
    found = ledger.rows(
        f"""
        SELECT v.image, verdict, label, at, export, placed(coalesce(nullif(collections.tree, ''), exports.tree)) FROM opinions
        CROSS JOIN verdicts AS v ON v.id = coalesce(decision, {export.purpose})
        CROSS JOIN collections ON collections.id = v.collection
        CROSS JOIN exports ON exports.id = export
        WHERE opinions.round = ?
        """,
        (export.round,),
    )
    return {image: Elsewhere(*rest) for image, *rest in found}


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


def disputed(ledger: Ledger, round_number: int) -> set[int]:
    """The images of the round that two people differ on: they count as unsure."""
    found = ledger.rows("SELECT image FROM current_verdicts WHERE round = ? AND disputed", (round_number,))
    return {image for (image,) in found}


_DECIDED = """
    FROM current_verdicts AS v
    CROSS JOIN tallies AS t ON t.round = v.round AND t.image = v.image
    CROSS JOIN images ON images.id = v.image
    CROSS JOIN classes ON classes.id = images.class
    CROSS JOIN collections ON collections.id = v.collection
    WHERE v.round = ?1"""
_WANTED = f"""CASE v.verdict WHEN '{Verdict.RELABEL}' THEN v.label WHEN '{Verdict.EXPUNGE}' THEN NULL
    ELSE classes.name END"""
_HOMELESS = "(images.state = 'gone' OR images.digest != t.digest)"
"""Its file is not what was decided on any more."""


def resolved(ledger: Ledger, round_number: int) -> Resolution:
    """What the round's verdicts come to in the dataset that the last scan saw."""
    return _resolved(ledger, round_number, "1")


def outstanding(ledger: Ledger, round_number: int) -> Outstanding:
    """What is decided, and not in the corrected dataset yet.

    Most of it SQLite counts; only what was decided on contents whose file was changed since is resolved one by one.
    """
    applied = ledger.value(
        "SELECT max(id) FROM applications WHERE round = ? AND undone IS NULL", (round_number,)
    )
    made = "SELECT new_label FROM corrections WHERE application = ?2 AND corrections.image = v.image"
    (row,) = ledger.rows(
        f"""
        SELECT total({_HOMELESS}), total(NOT {_HOMELESS} AND coalesce({_WANTED}, '') != coalesce(({made}), classes.name))
        {_DECIDED}
        """,
        (round_number, applied),
    )
    homeless, in_place = map(int, row)
    if not homeless:
        return Outstanding(in_place, [])
    rest = _resolved(ledger, round_number, f"t.digest IN (SELECT t.digest {_DECIDED} AND {_HOMELESS})")
    labels = dict(
        ledger.rows("SELECT image, new_label FROM corrections WHERE application = ?", (applied,)).fetchall()
    )
    elsewhere = [c for c in rest.corrections if c.path != c.decided_on]  # the others are counted already
    missing = [c for c in elsewhere if labels.get(c.image) != (c.new_label or "")]
    return Outstanding(in_place + len(missing), rest.unapplied)


def _resolved(ledger: Ledger, round_number: int, which: str) -> Resolution:
    """`which` are the decisions that it goes by: a condition of SQL."""
    decisions = [
        Decision(*row)
        for row in ledger.rows(
            f"""
            SELECT v.image, images.path, classes.name, {_WANTED}, t.votes, t.score, collections.at, t.digest,
                CASE WHEN images.state = 'gone' THEN 'gone' WHEN images.mtime_ns = ?2 THEN 'unreadable'
                    ELSE 'content changed' END
            {_DECIDED} AND {which} ORDER BY v.image
            """,
            (round_number, UNREAD),
        )
    ]
    held = ledger.rows(
        f"""
        SELECT images.id, path, classes.name, images.digest, t.image IS NOT NULL FROM images
        JOIN classes ON classes.id = class
        LEFT JOIN tallies AS t ON t.round = ?1 AND t.image = images.id AND t.digest = images.digest
        WHERE state != 'gone' AND images.digest IN (SELECT t.digest {_DECIDED} AND {which})
        """,
        (round_number,),
    )
    return resolve(decisions, [Held(*row) for row in held])
