"""An old ledger, with data in it, becomes a new one that says the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from dupekit.errors import LedgerError
from dupekit.ledger import (
    Ledger,
    endings,
    exports,
    ignores,
    integrity,
    older,
    predictions,
    rounds,
    steps,
    verdicts,
)
from dupekit.ledger.migrations import migrations
from dupekit.ledger.steps import Step
from dupekit.review.event_log import Event

# 1 confirmed; 2 confirmed, taken off by hand; 3 confirmed in an earlier collect, put back since; 4 by hand and
# confirmed; 5 by hand; 6 left on the list though its verdict changed.
OLD = """
INSERT INTO classes VALUES (1, 'a'), (2, 'b');
INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (1, '/d', '2026-01-01T00:00:00+00:00', 3, 6, '{}');
INSERT INTO images SELECT value, 'a/' || value, 1, 1, 1, 'new' || value, 1, 1, 'L', 'ok', ''
    FROM json_each('[1, 2, 3, 4, 5, 6]');
INSERT INTO tallies SELECT 1, id, 1, 'd' || id, 3, 2, 3, 0.1, 0.8, 0.8, 1.5 FROM images;
INSERT INTO runs (id, round, pair, half, state) VALUES (1, 1, 1, 'a', 'done'), (2, 1, 1, 'b', 'done');
INSERT INTO predictions SELECT id, 1 + (id % 2), 1 + (id = 3), id / 8.0, 0.25 FROM images;
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


def gone(_: Ledger) -> None:
    """There are no files to bring anywhere."""


def test_the_list_and_the_verdicts_are_the_same(old: Path, tmp_path: Path) -> None:
    with sqlite3.connect(old) as db:
        before = db.execute("SELECT digest, label, path, added FROM ignores ORDER BY path").fetchall()
    db.close()
    with Ledger(old, before_migrating=gone) as ledger, Ledger(tmp_path / "new.db", create=True) as new:
        assert [(i.digest, i.label, i.path, i.added) for i in ignores.ignores(ledger)] == before
        assert verdicts.counts(ledger, 1) == {"correct": 3, "relabel": 2}
        assert ledger.rows("SELECT image, digest FROM verdicts WHERE id = 1").fetchall() == [(1, "d1")]
        assert ledger.rows("SELECT digest FROM corrections").fetchall() == [("d3",)]
        assert [(step.who, step.place) for step in steps.steps(ledger)] == [
            ("Ada", "/tree"), (None, "/fixed"), ("Ada", "/tree"),
        ]  # fmt: skip
        assert ledger.schema() == new.schema()
        assert ledger.rows("PRAGMA foreign_key_check").fetchall() == []
        assert ledger.value("PRAGMA integrity_check") == "ok"
    with Ledger(old) as again:
        assert len(ignores.ignores(again)) == 4


def taken_back(ledger: Ledger) -> Step | None:
    step = steps.last(ledger)
    if step:
        steps.take_back(ledger, step)
    return step


def test_its_steps_can_be_taken_back(old: Path) -> None:
    with Ledger(old, before_migrating=gone) as ledger:
        assert [step.what for step in steps.steps(ledger)] == ["collect", "apply", "collect"]
        taken = taken_back(ledger)
        assert taken is not None
        assert (taken.what, taken.number, taken.count) == ("collect", 2, 2)
        assert verdicts.counts(ledger, 1) == {"correct": 5}
        assert {entry.path for entry in ignores.ignores(ledger)} == {"a/1", "a/3", "a/4", "a/5", "a/6"}
        rest = [taken_back(ledger) for _ in range(3)]
        assert [step and step.what for step in rest] == ["apply", "collect", None]
        assert {entry.path for entry in ignores.ignores(ledger)} == {"a/4", "a/5", "a/6"}
        assert ledger.value("SELECT count(*) FROM verdicts") == 7  # nothing is deleted


def test_the_predictions_are_the_same_in_another_order(old: Path) -> None:
    with sqlite3.connect(old) as db:
        before = db.execute(
            "SELECT run, image, predicted, probability, probability_given FROM predictions"
        ).fetchall()
    db.close()
    assert len(before) == 6
    with Ledger(old, before_migrating=gone) as ledger:
        assert ledger.rows("SELECT * FROM predictions").fetchall() == sorted(before)
        assert predictions.counts(ledger) == {1: 3, 2: 3}
        assert [(p.path, p.label) for p in predictions.of_round(ledger, 1)][-2:] == [
            ("a/3", "b"),
            ("a/5", "a"),
        ]


# Round 1 was applied and ended; the next is on what it wrote. Round 2 was flagged, and ended with nothing applied; round 3 has
# a tree out, and no threshold since the last training. After the end of round 1 its tree was collected once more.
LATER = """
UPDATE rounds SET closed = '2026-01-03T12:00:00+00:00' WHERE id = 1;
INSERT INTO rounds (id, dataset, begun, closed, pairs, images, plan, threshold) VALUES
    (2, '/fixed', '2026-01-05T00:00:00+00:00', '2026-01-06T00:00:00+00:00', 3, 6, '{}', 3),
    (3, '/elsewhere', '2026-01-07T00:00:00+00:00', NULL, 3, 6, '{}', NULL),
    (4, '/elsewhere', '2026-01-08T00:00:00+00:00', NULL, 3, 6, '{}', NULL);
INSERT INTO exports VALUES (2, 3, 'key 3', '/tree 3', '2026-01-07T00:00:01+00:00');
INSERT INTO exported_files SELECT 2, 'a/b_03_' || id, id FROM images;
INSERT INTO exported_files VALUES (2, 'b/a_03_7', 7);
INSERT INTO collections VALUES (3, 2, '2026-01-07T12:00:00+00:00', 'Ada')
"""


def test_ends_of_rounds_rules_and_finished_classes_follow_from_what_there_was(old: Path) -> None:
    with sqlite3.connect(old) as db:
        db.execute("INSERT INTO images SELECT 7, 'b/7', 2, 1, 1, 'new7', 1, 1, 'L', 'ok', ''")
        db.executescript(LATER)
        migrations.apply(Database(db), stop_before="m005_predictions_in_the_order_of_writing")
        db.execute("UPDATE collections SET undone = '2026-01-09' WHERE id = 2")
    db.close()
    with Ledger(old, before_migrating=gone) as ledger:
        assert [(s.what, s.round, s.place, s.who, s.undone is None) for s in steps.steps(ledger)] == [
            ("collect", 1, "/tree", "Ada", True),
            ("apply", 1, "/fixed", None, True),
            ("next", 1, "/fixed", None, True),
            ("collect", 1, "/tree", "Ada", False),
            ("next", 2, "/elsewhere", None, True),
            ("collect", 3, "/tree 3", "Ada", True),
        ]
        assert [endings.of_round(ledger, number) and endings.of_round(ledger, number).before for number in (1, 2, 3)] == [
            "/d", "/fixed", None,
        ]  # fmt: skip
        assert [rounds.get(ledger, number).rule for number in (1, 2, 3, 4)] == [
            "votes",
            "votes",
            "votes",
            None,
        ]
        said = [
            verdicts.finished(ledger, one) for number in (1, 3) for one in exports.of_round(ledger, number)
        ]
        assert said == [{"a"}, {"a", "b"}]
        assert ledger.rows("SELECT collection, label FROM finished ORDER BY 1, 2").fetchall() == [
            (1, "a"), (3, "a"), (3, "b"),
        ]  # fmt: skip
        assert list(integrity.faults(ledger)) + list(integrity.misfits(ledger)) == []


def test_one_of_the_version_before_holds_no_events(old: Path) -> None:
    with sqlite3.connect(old) as db:
        migrations.apply(Database(db), stop_before="m006_batches_and_second_opinions")
    db.close()
    found: list[object] = []
    with Ledger(
        old, before_migrating=lambda ledger: found.extend([*older.exports(ledger), *older.events(ledger, 1)])
    ):
        pass
    assert found == [older.OldExport(1, 1, "key")]


def test_what_a_new_ledger_does_not_hold_is_read_before(old: Path) -> None:
    seen: list[Event] = []

    def read(ledger: Ledger) -> None:
        seen.extend(older.events(ledger, 1))
        assert ledger.connection.in_transaction

    for _ in range(2):
        with Ledger(old, before_migrating=read):
            pass
    assert seen == [Event("2026-01-01T00:00:02+00:00", "deleted", "a/b_03_1")]


def test_a_failure_before_it_is_migrated_leaves_the_old_ledger(old: Path) -> None:
    def fail(ledger: Ledger) -> None:
        raise PermissionError(13, "Permission denied")

    content = old.read_bytes()
    with pytest.raises(PermissionError):
        Ledger(old, before_migrating=fail)
    assert old.read_bytes() == content


@pytest.mark.parametrize("read_only", [False, True])
def test_who_does_not_say_where_its_files_go_gets_no_old_ledger(old: Path, read_only: bool) -> None:
    content = old.read_bytes()
    with pytest.raises(LedgerError, match="written by an older dupekit") as caught:
        Ledger(old, read_only=read_only)
    assert "`dupekit status`" in caught.value.hint
    assert old.read_bytes() == content
