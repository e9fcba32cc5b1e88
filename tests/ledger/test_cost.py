"""What a query costs, in steps of SQLite's virtual machine: the same on every machine."""

from __future__ import annotations

from pathlib import Path

from dupekit.ledger import Ledger, tallies

STEP = 100


def steps_to_flag(path: Path, images: int) -> int:
    """Steps to flag `images` candidates, half of which are confirmed and so on the ignore list."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += STEP
        return 0

    with Ledger(path, create=True) as ledger:
        with ledger.write() as db:
            db.execute("INSERT INTO classes VALUES (1, 'a'), (2, 'b')")
            db.execute(
                "INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (1, '', '', 3, 1, '')"
            )
            db.executemany(
                "INSERT INTO images VALUES (?, ?, 1, 1, 1, ?, 1, 1, 'L', 'ok', '')",
                [(i, f"a/{i}", f"{i:064x}") for i in range(images)],
            )
            db.execute("INSERT INTO tallies SELECT 1, id, 1, digest, 3, 2, 3, 0.1, 0.8, 0.8, 1.5 FROM images")
            db.execute("INSERT INTO exports VALUES (1, 1, 'key', '/tree', '')")
            db.execute("INSERT INTO collections (id, export, at, who) VALUES (1, 1, '', '')")
            db.execute(
                "INSERT INTO verdicts (collection, round, image, verdict, label, digest)"
                " SELECT 1, 1, id, 'correct', 'a', digest FROM images WHERE id % 2"
            )
        ledger.connection.set_progress_handler(count, STEP)
        assert len(tallies.dupes(ledger, 1, threshold=3)) == images // 2
        assert tallies.ignored(ledger, 1, threshold=3) == images // 2
        ledger.connection.set_progress_handler(None, 0)
    return steps


def test_flagging_does_not_go_through_the_ignore_list_for_every_image(tmp_path: Path) -> None:
    assert steps_to_flag(tmp_path / "2.db", 2000) < 3 * steps_to_flag(tmp_path / "1.db", 1000)
