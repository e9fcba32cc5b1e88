"""Tables of the review: exports, events, collections, verdicts, the ignore list, applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dupekit.apply import Correction, Placement
from dupekit.files import now
from dupekit.ledger import Ledger
from dupekit.review import CORRECT, EXPUNGED, RELABEL, Verdict


@dataclass(frozen=True, slots=True)
class Export:
    number: int
    round: int
    key: str
    tree: str
    """Where it was written: absolute, escaped."""
    created: str


@dataclass(frozen=True, slots=True)
class Ignored:
    digest: str
    label: str
    path: str
    """Where the image lay when it was added."""
    added: str


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


def record_event(ledger: Ledger, export: int, events: Iterable[tuple[str, str, str, str]]) -> None:
    """Adds what a watcher saw: time, kind, path and target."""
    with ledger.write() as db:
        db.executemany(
            "INSERT INTO events (export, at, kind, path, target) VALUES (?, ?, ?, ?, ?)",
            [(export, *event) for event in events],
        )


def record_verdicts(
    ledger: Ledger,
    export: Export,
    verdicts: Sequence[Verdict],
    *,
    who: str,
    check: Callable[[list[Verdict]], None],
) -> list[Verdict]:
    """Records the verdicts that differ from those recorded before, and brings the ignore list in step.

    Returns the ones that changed; with none, nothing is written. `check` gets them first, and may raise.
    """
    images = exported_images(ledger, export.number)
    # An older tree that nobody has touched since must not take back what was decided in a newer one.
    of_this_tree = {
        image: (verdict, label)
        for image, verdict, label in ledger.rows(
            """
            SELECT image, verdict, label FROM verdicts WHERE id IN (
                SELECT max(verdicts.id) FROM verdicts JOIN collections ON collections.id = collection
                WHERE export = ? GROUP BY image)
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
            "INSERT INTO collections (export, at, who) VALUES (?, ?, ?)", (export.number, now(), who)
        ).lastrowid
        for v in changed:
            image = images[v.file.path]
            previous = before.get(image)
            db.execute(
                "INSERT INTO verdicts (collection, round, image, verdict, label, previous)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (collection, export.round, image, v.verdict, v.label, " ".join(previous) if previous else ""),
            )
            if v.verdict == CORRECT:
                db.execute(
                    "INSERT OR IGNORE INTO ignores (digest, label, path, added, collection)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (v.file.digest, v.file.given, v.file.original, now(), collection),
                )
            elif previous and previous[0] == CORRECT:  # put back: what collect added it takes away again
                # ... unless a copy of the image was confirmed, too.
                db.execute(
                    f"""
                    DELETE FROM ignores WHERE digest = ? AND label = ? AND collection IS NOT NULL
                    AND NOT EXISTS (
                        SELECT 1 FROM ({_LAST_VERDICTS}) AS v JOIN images ON images.id = v.image
                        WHERE v.verdict = ? AND v.label = ignores.label AND images.digest = ignores.digest)
                    """,
                    (v.file.digest, v.file.given, export.round, CORRECT),
                )
    return changed


def verdict_counts(ledger: Ledger, round_number: int) -> dict[str, int]:
    """How many images of the round have each verdict now."""
    counts: dict[str, int] = {}
    for _, verdict, _ in _current(ledger, round_number):
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def corrections(ledger: Ledger, round_number: int) -> list[Correction]:
    """What the round's verdicts change, by path."""
    found = ledger.rows(
        f"""
        SELECT v.image, images.path, classes.name, v.verdict, v.label, t.votes, t.score, collections.at
        FROM ({_LAST_VERDICTS}) AS v
        JOIN images ON images.id = v.image
        JOIN classes ON classes.id = images.class
        JOIN tallies AS t ON t.round = v.round AND t.image = v.image
        JOIN collections ON collections.id = v.collection
        WHERE v.verdict IN (?, ?) AND images.state = 'ok' AND images.digest = t.digest
        ORDER BY images.path
        """,
        (round_number, RELABEL, EXPUNGED),
    )
    return [
        Correction(image, path, label, "" if verdict == EXPUNGED else new, votes, score, at)
        for image, path, label, verdict, new, votes, score, at in found
        if verdict == EXPUNGED or new != label
    ]


def record_application(
    ledger: Ledger,
    *,
    round_number: int,
    destination: str,
    mode: str,
    made: Sequence[Correction],
    placements: Sequence[Placement],
) -> None:
    """Records that a corrected dataset was written, and what was corrected in it."""
    new_paths = {placement.source.image: placement.path for placement in placements}
    with ledger.write() as db:
        number = db.execute(
            "INSERT INTO applications (round, at, destination, mode) VALUES (?, ?, ?, ?)",
            (round_number, now(), destination, mode),
        ).lastrowid
        db.executemany(
            "INSERT INTO corrections VALUES (?, ?, ?, ?, ?, ?)",
            [(number, c.image, c.path, c.old_label, c.new_label, new_paths.get(c.image, "")) for c in made],
        )


def applications(ledger: Ledger, round_number: int) -> list[tuple[str, str, str]]:
    """Destination, mode and time of the corrected datasets written in this round."""
    return ledger.rows(
        "SELECT destination, mode, at FROM applications WHERE round = ? ORDER BY id", (round_number,)
    ).fetchall()


def ignores(ledger: Ledger) -> list[Ignored]:
    """The ignore list, by label and path."""
    found = ledger.rows("SELECT digest, label, path, added FROM ignores ORDER BY label, path")
    return [Ignored(*row) for row in found]


def add_ignores(ledger: Ledger, entries: Iterable[tuple[str, str, str]]) -> int:
    """Adds digests with label and path by hand; returns how many were new."""
    added = 0
    with ledger.write() as db:
        for digest, label, path in entries:
            added += db.execute(
                "INSERT OR IGNORE INTO ignores (digest, label, path, added) VALUES (?, ?, ?, ?)",
                (digest, label, path, now()),
            ).rowcount
    return added


def remove_ignores(ledger: Ledger, entries: Iterable[tuple[str, str]]) -> int:
    """Removes digests with label; returns how many were there."""
    removed = 0
    with ledger.write() as db:
        for digest, label in entries:
            removed += db.execute(
                "DELETE FROM ignores WHERE digest = ? AND label = ?", (digest, label)
            ).rowcount
    return removed


_LAST_VERDICTS = """
    SELECT * FROM verdicts WHERE id IN (SELECT max(id) FROM verdicts WHERE round = ? GROUP BY image)
"""


def _current(ledger: Ledger, round_number: int) -> list[tuple[int, str, str]]:
    return ledger.rows(f"SELECT image, verdict, label FROM ({_LAST_VERDICTS})", (round_number,)).fetchall()
