"""Tables of the review: exports, events, collections, verdicts, applications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dupekit.correct.placements import Correction, Placement
from dupekit.correct.resolve import Decision, Held, Unapplied, resolve
from dupekit.ledger import Ledger
from dupekit.ledger.images import UNREAD
from dupekit.review.event_log import Event
from dupekit.review.mistakes import Earlier
from dupekit.review.verdicts import EXPUNGED, RELABEL, Verdict
from dupekit.system.stamp import now


@dataclass(frozen=True, slots=True)
class Export:
    number: int
    round: int
    key: str
    tree: str
    """Where it was written: absolute, escaped."""
    created: str


def record_export(ledger: Ledger, *, round_number: int, key: str, tree: str, files: dict[str, int]) -> None:
    """Records an export; `files` maps paths in the tree to the ledger's numbers of the images."""
    with ledger.write() as db:
        number = db.execute(
            "INSERT INTO exports (round, key, tree, created) VALUES (?, ?, ?, ?)",
            (round_number, key, tree, now()),
        ).lastrowid
        db.executemany(
            "INSERT INTO exported_files VALUES (?, ?, ?)",
            [(number, path, image) for path, image in files.items()],
        )


def exports(ledger: Ledger, round_number: int) -> list[Export]:
    """The round's exports, in order."""
    found = ledger.rows(
        "SELECT id, round, key, tree, created FROM exports WHERE round = ? ORDER BY id", (round_number,)
    )
    return [Export(*row) for row in found]


def export_by_key(ledger: Ledger, key: str) -> Export | None:
    row = ledger.rows("SELECT id, round, key, tree, created FROM exports WHERE key = ?", (key,)).fetchone()
    return Export(*row) if row else None


def exported_images(ledger: Ledger, export: int) -> dict[str, int]:
    """Path in the tree -> the ledger's number of the image."""
    return dict(ledger.rows("SELECT path, image FROM exported_files WHERE export = ?", (export,)).fetchall())


def record_event(ledger: Ledger, export: int, events: Iterable[Event]) -> None:
    """Adds what a watcher saw."""
    with ledger.write() as db:
        db.executemany(
            "INSERT INTO events (export, at, kind, path, target) VALUES (?, ?, ?, ?, ?)",
            [(export, *_row(event)) for event in events],
        )


def pick_up_events(ledger: Ledger, export: int, events: Sequence[Event]) -> int:
    """Adds of a tree's own event log what was not picked up before; returns how many that were.

    A log knows no numbers and its times are whole seconds, so equal events are counted, not told apart.
    """
    with ledger.write() as db:
        known = Counter(
            db.execute(
                "SELECT at, kind, path, target FROM events WHERE export = ? AND source = 'tree'", (export,)
            )
        )
        new = []
        for event in map(_row, events):
            if known[event]:
                known[event] -= 1
            else:
                new.append((export, *event))
        db.executemany(
            "INSERT INTO events (export, at, kind, path, target, source) VALUES (?, ?, ?, ?, ?, 'tree')", new
        )
    return len(new)


def _row(event: Event) -> tuple[str, str, str, str]:
    return event.at, event.kind, event.path or "", event.target or ""


def record_verdicts(
    ledger: Ledger,
    export: Export,
    verdicts: Sequence[Verdict],
    *,
    who: str,
    tree: str,
    check: Callable[[list[Verdict]], None],
) -> list[Verdict]:
    """Records the verdicts that differ from those recorded of this tree before; the ignore list follows from them.

    `tree` is where it lies now: absolute, escaped. Returns the ones that changed; with none, nothing is written.
    `check` gets them first, and may raise.
    """
    images = exported_images(ledger, export.number)
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
    changed = [v for v in verdicts if of_this_tree.get(images[v.file.path]) != (v.verdict, v.label)]
    before = {image: (verdict, label) for image, verdict, label in _current(ledger, export.round)}
    if not changed:
        return []
    check(changed)
    with ledger.write() as db:
        collection = db.execute(
            "INSERT INTO collections (export, at, who, tree) VALUES (?, ?, ?, ?)",
            (export.number, now(), who, tree),
        ).lastrowid
        db.executemany(
            "INSERT INTO verdicts (collection, round, image, verdict, label, previous, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (collection, export.round, image, v.verdict, v.label, " ".join(before.get(image, ())),
                 v.file.digest)
                for v, image in ((v, images[v.file.path]) for v in changed)
            ],
        )  # fmt: skip
    return changed


def earlier(ledger: Ledger, export: Export) -> dict[str, Earlier]:
    """What counts now of an export's files, by their paths in the tree, whichever tree it was decided in."""
    rows = ledger.rows(
        """
        SELECT f.path, v.verdict, v.label, exports.tree, exports.id = f.export FROM exported_files AS f
        JOIN current_verdicts AS v ON v.image = f.image
        JOIN collections ON collections.id = v.collection
        JOIN exports ON exports.id = collections.export
        WHERE f.export = ? AND v.round = ?
        """,
        (export.number, export.round),
    )
    return {path: Earlier(verdict, label, tree, bool(here)) for path, verdict, label, tree, here in rows}


def overruled(ledger: Ledger, export: Export, verdicts: Iterable[Verdict]) -> list[tuple[Verdict, str, str]]:
    """Of a tree's recorded verdicts those that do not count, for a later collect of another tree of the round
    decided otherwise: with the place of that tree, escaped, and when it was collected."""
    images = exported_images(ledger, export.number)
    current = {
        image: (verdict, label, tree, at)
        for image, verdict, label, tree, at in ledger.rows(
            """
            SELECT image, verdict, label, iif(collections.tree = '', exports.tree, collections.tree), at
            FROM current_verdicts AS v
            JOIN collections ON collections.id = v.collection
            JOIN exports ON exports.id = export
            WHERE v.round = ?
            """,
            (export.round,),
        )
    }
    found = []
    for v in verdicts:
        verdict, label, tree, at = current[images[v.file.path]]
        if (verdict, label) != (v.verdict, v.label):
            found.append((v, tree, at))
    return found


def verdict_counts(ledger: Ledger, round_number: int) -> dict[str, int]:
    """How many images of the round have each verdict now."""
    counts: dict[str, int] = {}
    for _, verdict, _ in _current(ledger, round_number):
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def resolved(ledger: Ledger, round_number: int) -> tuple[list[Correction], list[Unapplied]]:
    """What the round's verdicts change in the dataset that the last scan saw, and which of them change nothing."""
    decisions = [
        Decision(*row)
        for row in ledger.rows(
            """
            SELECT v.image, images.path, classes.name,
                CASE v.verdict WHEN ? THEN v.label WHEN ? THEN '' ELSE classes.name END,
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
            (RELABEL, EXPUNGED, UNREAD, round_number),
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


def record_application(
    ledger: Ledger,
    *,
    round_number: int,
    destination: str,
    mode: str,
    who: str,
    made: Sequence[Correction],
    placements: Sequence[Placement],
) -> None:
    """Records that a corrected dataset was written, and what was corrected in it."""
    new_paths = {placement.source.image: placement.path for placement in placements}
    with ledger.write() as db:
        number = db.execute(
            "INSERT INTO applications (round, at, destination, mode, who, collection)"
            " VALUES (?, ?, ?, ?, ?, (SELECT max(id) FROM collections))",
            (round_number, now(), destination, mode, who),
        ).lastrowid
        db.executemany(
            "INSERT INTO corrections VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, c.image, c.path, c.old_label, c.new_label, new_paths.get(c.image, ""), c.digest)
                for c in made
            ],
        )


def applications(ledger: Ledger, round_number: int) -> list[tuple[str, str, str]]:
    """Destination, mode and time of the corrected datasets written in this round and not undone."""
    return ledger.rows(
        "SELECT destination, mode, at FROM applications WHERE round = ? AND undone IS NULL ORDER BY id",
        (round_number,),
    ).fetchall()


def applied(ledger: Ledger, round_number: int) -> dict[tuple[str, str], str]:
    """Content and given label -> label in the round's last corrected dataset that is not undone; empty: expunged."""
    found = ledger.rows(
        """
        SELECT digest, old_label, new_label FROM corrections WHERE application = (
            SELECT max(id) FROM applications WHERE round = ? AND undone IS NULL)
        """,
        (round_number,),
    )
    return {(digest, old_label): new_label for digest, old_label, new_label in found}


def _current(ledger: Ledger, round_number: int) -> list[tuple[int, str, str]]:
    return ledger.rows(
        "SELECT image, verdict, label FROM current_verdicts WHERE round = ?", (round_number,)
    ).fetchall()
