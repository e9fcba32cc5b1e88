"""What a query costs, in steps of SQLite's virtual machine: the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dupekit.ledger import Ledger, again, exports, findings, opinions, steps, tallies, verdicts
from dupekit.project import Project
from dupekit.review.ignore_list import to_csv
from dupekit.review.manifest import ExportedFile
from dupekit.review.style import Style
from dupekit.review.verdicts import FileVerdict, Verdict
from dupekit.rounds.rules import Rule, RuleName
from dupekit.settings import Settings
from dupekit.system.progress import silent
from dupekit.workflow.export import export
from dupekit.workflow.ignore import import_csv
from dupekit.workflow.selection import Selection
from dupekit.workflow.session import Session
from dupekit.workflow.status import status

STEP = 100
SCORE = Rule(RuleName.SCORE, 3)


def steps_of(ledger: Ledger, query: Callable[[Ledger], object]) -> int:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += STEP
        return 0

    ledger.connection.set_progress_handler(count, STEP)
    query(ledger)
    ledger.connection.set_progress_handler(None, 0)
    return steps


@contextmanager
def reviewed(path: Path, images: int) -> Iterator[Ledger]:
    """`images` exported candidates, half of which are confirmed and so on the ignore list, each in a collect of its own."""
    with Ledger(path, create=True) as ledger:
        with ledger.write() as db:
            db.execute("INSERT INTO classes VALUES (1, 'a'), (2, 'b')")
            db.execute(
                "INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (1, '', '', 3, 1, '{}')"
            )
            db.executemany(
                "INSERT INTO images VALUES (?, ?, 1, 1, 1, ?, 1, 1, 'L', 'ok', '')",
                [(i, f"a/{i}", f"{i:064x}") for i in range(images)],
            )
            db.execute(
                "INSERT INTO tallies SELECT 1, id, 1, digest, 3, 2, 3, 0.1, 0.8, 0.8, 1.5, 0 FROM images"
            )
            db.execute(
                "INSERT INTO exports (id, round, key, tree, created) VALUES (1, 1, 'key', '/tree', '')"
            )
            db.execute("INSERT INTO exported_files (export, path, image) SELECT 1, path, id FROM images")
            db.execute("INSERT INTO collections (id, export, at, who) SELECT id + 1, 1, '', '' FROM images")
            db.execute(
                "INSERT INTO verdicts (collection, round, image, verdict, label, digest)"
                " SELECT id + 1, 1, id, 'correct', 'a', digest FROM images WHERE id % 2"
            )
        yield ledger


def flag(ledger: Ledger) -> None:
    found = len(tallies.suspects(ledger, 1, SCORE))
    assert found == tallies.counts(ledger, 1, SCORE).ignored > 0


def take_the_next_batch(ledger: Ledger) -> None:
    (out,) = exports.out(ledger, 1)
    assert len(tallies.suspects(ledger, 1, SCORE)) == out.open
    assert tallies.waiting(ledger, 1, SCORE) == []
    assert len(tallies.unsuspected(ledger, 1, SCORE).images) == 0


def ask_again(ledger: Ledger) -> None:
    found = again.to_decide(ledger, 1, list(Verdict))
    assert len(tallies.of_images(ledger, 1, found)) == verdicts.counts(ledger, 1)["correct"]
    assert again.disputed(ledger, 1) == []


def collect_again(ledger: Ledger) -> None:
    (export,) = exports.of_round(ledger, 1)
    decided = verdicts.recorded(ledger, export)
    assert len(decided) == verdicts.counts(ledger, 1)["correct"] > 0
    same = [
        FileVerdict(
            ExportedFile(
                path=path, original=path, given="a", suggested="b", votes=3, score=1.5, digest="0" * 64
            ),
            Verdict.CORRECT,
            "a",
            None,
        )
        for path in decided
    ]
    assert verdicts.overruled(ledger, export, same) == []
    assert verdicts.record(ledger, export, same, who="", tree="", finished=(), check=lambda _: None) == []


def decide_twice(ledger: Ledger) -> None:
    """A tenth of the images has a second opinion, which disputes half of them."""
    with ledger.write() as db:
        db.execute(
            "INSERT INTO exports (id, round, key, tree, created, purpose) VALUES (2, 1, 'second', '/tree', '', 'second')"
        )
        db.execute(
            "INSERT INTO exported_files (export, path, image) SELECT 2, path, id FROM images WHERE id % 10 = 1"
        )
        db.execute("INSERT INTO collections (id, export, at, who) VALUES (1000000, 2, '', '')")
        db.execute(
            "INSERT INTO verdicts (collection, round, image, verdict, label, digest) SELECT 1000000, 1, id,"
            " iif(id % 20 = 1, 'correct', 'relabel'), iif(id % 20 = 1, 'a', 'b'), digest FROM images WHERE id % 10 = 1"
        )
    count = ledger.value("SELECT count(*) FROM images")
    assert verdicts.counts(ledger, 1) == {"correct": count // 2 - count // 20, "unsure": count // 20}
    found = opinions.of_round(ledger, 1)
    assert (len(found), sum(one.disputed for one in found)) == (count // 10, count // 20)
    assert [(one.images, one.open) for one in exports.out(ledger, 1)] == [
        (count, count // 2),
        (count // 10, 0),
    ]
    assert verdicts.outstanding(ledger, 1).corrections == 0
    read = findings.findings(ledger, 1, Rule(RuleName.SCORE, 3))
    assert (len(read.reviewed), len(read.undecided), len(read.out)) == (
        count // 2 - count // 20,
        0,
        count // 2,
    )
    assert tallies.counts(ledger, 1, SCORE).waiting == 0


def tell_the_history(ledger: Ledger) -> None:
    assert {step.count for step in steps.steps(ledger)} == {0, 1}


@pytest.mark.parametrize(
    "query", [flag, take_the_next_batch, ask_again, collect_again, decide_twice, tell_the_history]
)
def test_twice_the_images_cost_twice_as_much(tmp_path: Path, query: Callable[[Ledger], object]) -> None:
    """As little as the ignore list is gone through for every image, so little an export's files for every verdict."""
    with reviewed(tmp_path / "1.db", 1000) as few, reviewed(tmp_path / "2.db", 2000) as many:
        assert steps_of(many, query) < 3 * steps_of(few, query)


def test_the_status_of_a_closed_round_gets_no_row_for_each_image(tmp_path: Path) -> None:
    got = 0

    def count(_: object, row: tuple[object, ...]) -> tuple[object, ...]:
        nonlocal got
        got += 1
        return row

    with reviewed(tmp_path / "ledger.db", 200) as ledger:
        with ledger.write() as db:
            db.execute("UPDATE images SET state = 'problem' WHERE id % 4 = 0")
            db.execute("UPDATE rounds SET closed = '2026'")
        ledger.connection.row_factory = count
        found = status(Session(ledger, tmp_path, Settings(dataset="data")))
    assert (found.images, found.classes, found.problems) == (150, 1, 50)
    assert (found.suspects, found.ignored) == (50, 100)
    assert [(r.suspects, r.ignored) for r in found.rounds] == [(200, 100)]
    assert got < 50


def test_who_wants_names_of_classes_has_no_images_counted(trained: Project, tmp_path: Path) -> None:
    asked: list[str] = []
    trained.ignore(["amoeba/0003.png"])
    with Ledger(trained.path / "ledger.db") as ledger:
        ledger.connection.set_trace_callback(asked.append)
        session = Session(ledger, trained.path, trained.settings)
        export(session, tmp_path / "tree", Selection(audit=1), Style(), progress=silent)
        import_csv(session, to_csv(trained.ignores()).encode(), "list.csv")
        status(session)
    assert sum("FROM classes" in sql for sql in asked) >= 2
    assert [sql for sql in asked if "count(DISTINCT digest)" in sql] == []
