"""An old ledger, with data in it, becomes a new one that says the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from dupekit.ledger import Ledger, ignores, review
from dupekit.ledger import steps as history
from dupekit.ledger.migrations import migrations

# 1 confirmed; 2 confirmed, taken off by hand; 3 confirmed in an earlier collect, put back since; 4 by hand and
# confirmed; 5 by hand; 6 left on the list though its verdict changed.
OLD = """
INSERT INTO classes VALUES (1, 'a'), (2, 'b');
INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (1, '/d', '2026-01-01T00:00:00+00:00', 3, 6, '{}');
INSERT INTO images SELECT value, 'a/' || value, 1, 1, 1, 'new' || value, 1, 1, 'L', 'ok', ''
    FROM json_each('[1, 2, 3, 4, 5, 6]');
INSERT INTO tallies SELECT 1, id, 1, 'd' || id, 3, 2, 3, 0.1, 0.8, 0.8, 1.5 FROM images;
INSERT INTO exports VALUES (1, 1, 'key', '/tree', '2026-01-01T00:00:01+00:00');
INSERT INTO exported_files SELECT 1, 'a/b_03_' || id, id FROM images;
INSERT INTO events (export, at, kind, path) VALUES (1, '2026-01-01T00:00:02+00:00', 'deleted', 'a/b_03_1');
INSERT INTO collections VALUES (1, 1, '2026-01-02T00:00:00+00:00', 'Ada'), (2, 1, '2026-01-04T00:00:00+00:00', 'Ada');
INSERT INTO verdicts (collection, round, image, verdict, label) VALUES (1, 1, 1, 'correct', 'a'),
    (1, 1, 2, 'correct', 'a'), (1, 1, 3, 'correct', 'a'), (1, 1, 4, 'correct', 'a'), (1, 1, 6, 'correct', 'a'),
    (2, 1, 3, 'relabel', 'b'), (2, 1, 6, 'relabel', 'b');
INSERT INTO ignores (digest, label, path, added, collection) VALUES
    ('d1', 'a', 'a/1', '2026-01-02T00:00:00+00:00', 1), ('d4', 'a', 'a/4', '2025-12-31T00:00:00+00:00', NULL),
    ('d5', 'a', 'a/5', '2026-01-03T00:00:00+00:00', NULL), ('d6', 'a', 'a/6', '2026-01-02T00:00:00+00:00', 1);
INSERT INTO applications VALUES (1, 1, '2026-01-03T00:00:00+00:00', '/fixed', 'copy');
INSERT INTO corrections VALUES (1, 3, 'a/3', 'a', 'b', 'b/3')
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    db = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    migrations.apply(Database(db), stop_before="m002_undo")
    db.executescript(OLD)
    assert db.execute("SELECT count(*) FROM ignores").fetchone() == (4,)
    db.close()
    return tmp_path / "ledger.db"


def test_the_list_and_the_verdicts_are_the_same(old: Path, tmp_path: Path) -> None:
    with sqlite3.connect(old) as db:
        before = db.execute("SELECT digest, label, path, added FROM ignores ORDER BY path").fetchall()
    db.close()
    with Ledger(old) as ledger, Ledger(tmp_path / "new.db", create=True) as new:
        assert [(i.digest, i.label, i.path, i.added) for i in ignores.ignores(ledger)] == before
        assert review.verdict_counts(ledger, 1) == {"correct": 3, "relabel": 2}
        assert ledger.rows("SELECT image, digest FROM verdicts WHERE id = 1").fetchall() == [(1, "d1")]
        assert ledger.rows("SELECT kind, source FROM events").fetchall() == [("deleted", "project")]
        assert ledger.rows("SELECT digest FROM corrections").fetchall() == [("d3",)]
        assert [(step.who, step.place) for step in history.steps(ledger)] == [
            ("Ada", "/tree"), ("", "/fixed"), ("Ada", "/tree"),
        ]  # fmt: skip
        assert ledger.schema() == new.schema()
        assert ledger.rows("PRAGMA foreign_key_check").fetchall() == []
        assert ledger.value("PRAGMA integrity_check") == "ok"
    with Ledger(old) as again:
        assert len(ignores.ignores(again)) == 4


def test_its_steps_can_be_taken_back(old: Path) -> None:
    with Ledger(old) as ledger:
        assert [step.what for step in history.steps(ledger)] == ["collect", "apply", "collect"]
        taken = history.undo(ledger)
        assert taken is not None
        assert (taken.what, taken.number, taken.count) == ("collect", 2, 2)
        assert review.verdict_counts(ledger, 1) == {"correct": 5}
        assert {entry.path for entry in ignores.ignores(ledger)} == {"a/1", "a/3", "a/4", "a/5", "a/6"}
        rest = [history.undo(ledger) for _ in range(3)]
        assert [step and step.what for step in rest] == ["apply", "collect", None]
        assert {entry.path for entry in ignores.ignores(ledger)} == {"a/4", "a/5", "a/6"}
        assert ledger.value("SELECT count(*) FROM verdicts") == 7  # nothing is deleted
