"""`status`: what is next at each stage, and what it says of the review."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from dupekit import Choices
from dupekit.ledger import Ledger, findings, tallies
from dupekit.project import Project
from dupekit.rounds.rules import Rule, RuleName
from dupekit.settings import FILE, Settings, write_settings
from dupekit.testing import make_dataset
from dupekit.workflow.advice import Advice
from dupekit.workflow.session import LEDGER
from tests.support import dupekit, on_terminal, parsed

IMAGES, REVIEWED = 3000, 300


def test_what_is_next_at_each_stage(template: Path, dataset: Path, tmp_path: Path, fast) -> None:
    project = Project.create(dataset, tmp_path / "project")

    def next_is(command: str | None) -> str:
        found = project.status().next
        assert found.command == command
        said = dupekit("status", "-p", project.path).stdout.splitlines()[-1]
        assert said == (f"{found.why} Next: {command}" if command else found.why)
        return found.why

    next_is("dupekit scan")
    project.scan()
    assert next_is("dupekit train") == "No round has been begun."
    assert not project.train(Choices(pairs=2, **fast)).failed
    project.flag(threshold=2)
    assert next_is("dupekit export") == "2 images wait for review."
    tree = project.export(tmp_path / "tree").tree
    why = next_is(f"dupekit collect {tree}")
    assert why == "A tree is out, with 2 of 2 images open: collect it when it is done."
    next(tree.glob("ciliate/*.png")).unlink()
    project.collect()
    assert "1 of 2 images open" in next_is(f"dupekit collect {tree}")
    project.collect(finished=["amoeba"])
    assert next_is("dupekit apply DEST") == "1 correction is in no corrected dataset yet."
    project.apply(tmp_path / "fixed")
    assert next_is("dupekit next") == "Everything is decided and applied."
    project.next_round()
    assert next_is("dupekit train").startswith("Round 1 has ended")
    project = Project(project.path)
    assert not project.train(Choices(pairs=2, **fast)).failed
    assert [one.round for one in project.status().rounds] == [1, 2]


def test_pairs_that_are_missing_come_before_the_review_but_not_in_the_midst_of_it(
    trained: Project, tmp_path: Path
) -> None:
    with Ledger(trained.path / LEDGER) as ledger, ledger.write() as db:
        db.execute("UPDATE runs SET state = 'failed' WHERE pair = 3")
    trained.flag(threshold=2)
    found = trained.status()
    assert (found.next.command, found.next.why) == ("dupekit train", "2 of 3 pairs are complete.")
    assert "1: 2 of 3 pairs, 2 runs failed" in dupekit("status", "-p", trained.path).stdout
    trained.export(tmp_path / "tree")
    assert trained.status().next.command == f"dupekit collect {tmp_path / 'tree'}"


def test_where_nothing_is_suspect_there_is_nothing_to_review(tmp_path: Path, fast) -> None:
    made = make_dataset(tmp_path / "clean", classes=("amoeba", "ciliate"), per_class=8, seed=3)
    project = Project.create(made, tmp_path / "project")
    project.scan()
    assert not project.train(Choices(pairs=1, **fast)).failed
    assert project.flag(rule=RuleName.SCORE).suspects == []
    assert project.status().next == Advice("No image is a suspect: be glad.", None)
    project.flag(threshold=1)
    assert project.status().next.command == "dupekit flag --rule score"


def test_commands_end_with_what_status_says(trained: Project, tmp_path: Path) -> None:
    def end_of(*arguments: object) -> str:
        said = dupekit(*arguments, "-p", trained.path).stdout.splitlines()[-1]
        assert said.endswith(dupekit("status", "-p", trained.path).stdout.splitlines()[-1])
        return said

    assert "for review. Next: dupekit export" in end_of("flag")
    assert "for review. Next: dupekit export" in end_of("train")
    tree, second = trained.export(tmp_path / "tree").tree, tmp_path / "second"
    assert "dupekit apply DEST" in end_of("collect", tree, "--finished", "all", "--yes")
    said = dupekit("export", second, "--again", "all", "--sample", 1, "-p", trained.path).stdout
    assert f"Next: dupekit collect {second} (or" in said
    for command in (["apply", tmp_path / "fixed"], ["flag"], ["train"], ["collect", tree], ["undo"]):
        assert end_of(*command).endswith(f"Next: dupekit collect {second}")


def test_a_tree_in_which_all_are_unsure_is_done(trained: Project, tmp_path: Path) -> None:
    tree = trained.export(tmp_path / "tree").tree
    for file in tree.glob("[a-z]*/*.png"):
        file.rename(tree / "_unsure" / file.name)
    trained.collect()
    assert trained.status().next.command == "dupekit next"


@pytest.fixture
def review(tmp_path: Path) -> Project:
    """A round of 3,000 images whose wrong labels are known; of the 600 suspects the first 300 are reviewed."""
    root = tmp_path / "project"
    root.mkdir()
    write_settings(root / FILE, Settings(dataset=str(tmp_path / "data")))
    rng = np.random.default_rng(1)
    scores = np.sort(rng.normal(-3, 3, IMAGES))[::-1]
    scores -= scores[600]
    wrong = rng.random(IMAGES) < 1 / (1 + np.exp(1 - scores))
    with Ledger(root / LEDGER, create=True) as ledger, ledger.write() as db:
        db.execute("INSERT INTO classes VALUES (1, 'a'), (2, 'b')")
        db.execute(
            "INSERT INTO rounds (id, dataset, begun, pairs, images, plan, tallied_pairs)"
            f" VALUES (1, '', '2026', 1, {IMAGES}, '{{}}', 1)"
        )
        db.execute(
            "INSERT INTO runs (round, pair, half, state) VALUES (1, 1, 'a', 'done'), (1, 1, 'b', 'done')"
        )
        db.executemany(
            "INSERT INTO images VALUES (?, ?, 1, 1, 1, ?, 1, 1, 'L', 'ok', '')",
            [(i, f"a/{i:04}.png", f"{i:064x}") for i in range(IMAGES)],
        )
        db.executemany(
            "INSERT INTO tallies VALUES (1, ?, 1, ?, 1, 2, ?, 0.1, 0.8, 0.8, ?, 0)",
            [(i, f"{i:064x}", int(score > 0), score) for i, score in enumerate(scores.tolist())],
        )
        export_and_decide(db, 1, range(REVIEWED), wrong)
    return Project(root)


def export_and_decide(db, number: int, images: range, wrong, **audit: int) -> None:
    db.execute(
        "INSERT INTO exports (id, round, key, tree, created) VALUES (?, 1, ?, ?, '2026')",
        (number, str(number), f"/tree/{number}"),
    )
    db.executemany(
        "INSERT INTO exported_files (export, path, image, stratum, population) VALUES (?, ?, ?, ?, ?)",
        [(number, f"a/{i}", i, audit.get("stratum"), audit.get("population")) for i in images],
    )
    db.execute("INSERT INTO collections (id, export, at, who) VALUES (?, ?, '2026', 'Ada')", (number, number))
    db.executemany(
        "INSERT INTO verdicts (collection, round, image, verdict, label, digest) VALUES (?, 1, ?, ?, ?, ?)",
        [
            (number, i, "relabel" if wrong[i] else "correct", "b" if wrong[i] else "a", f"{i:064x}")
            for i in images
        ],
    )


def test_it_says_what_was_found_and_what_is_left(review: Project) -> None:
    said = dupekit("status", "-p", review.path).stdout
    found = review.status().found
    assert found
    assert (found.reviewed, found.audited) == (300, 0)
    assert 200 < found.wrong < 300
    assert found.next_batch
    assert found.left
    assert found.next_batch.images == 300
    share = round(100 * found.wrong / 300)
    assert f"300 reviewed, {found.wrong} wrong ({share} %). The next 300 will hold about " in said
    assert re.search(r"About \d+ \(\d+ to [\d,]+\) wrong labels are left\.", said)
    assert "dupekit export --audit 100" in said
    assert re.search("^Wrong by rank, 50 images each, to 300: [▁▂▃▄▅▆▇█]{6}$", said, re.MULTILINE)
    assert "By rank" not in said
    assert "51 to 100\t50\t" in dupekit("status", "--all", "-p", review.path).stdout
    assert said.splitlines()[-1] == "300 images wait for review. Next: dupekit export"


def test_too_few_verdicts_are_said_to_be(review: Project) -> None:
    with Ledger(review.path / LEDGER) as ledger, ledger.write() as db:
        db.execute("DELETE FROM verdicts WHERE image >= 12")
        db.execute("UPDATE exports SET withdrawn = '2026'")
    said = dupekit("status", "-p", review.path).stdout
    assert (
        "12 reviewed, 12 wrong (100 %). How many are left cannot be said yet: too few verdicts (12 of 30)."
        in said
    )


def test_a_stop_is_advised_and_not_taken(review: Project) -> None:
    wrong = np.zeros(IMAGES, bool)
    with Ledger(review.path / LEDGER) as ledger, ledger.write() as db:
        export_and_decide(db, 2, range(300, 500), wrong)
        export_and_decide(db, 3, range(601, 2900, 10), wrong, stratum=0, population=2399)
    found = review.status()
    assert found.found
    assert found.found.stop
    assert (found.found.reviewed, found.found.audited, found.found.audited_wrong) == (500, 230, 0)
    assert found.waiting == 100
    assert found.next.command == "dupekit apply DEST"
    said = dupekit("status", "-p", review.path).stdout
    assert "Of 230 images of the audit 0 are wrong." in said
    assert "this is a good place to stop" in said


def test_what_counts_for_the_estimate(review: Project) -> None:
    """Not the unsure ones, those that the ignore list held before, nor those that changed; the audit apart."""
    with Ledger(review.path / LEDGER) as ledger:
        with ledger.write() as db:
            export_and_decide(db, 2, range(1000, 1010), np.ones(IMAGES, bool), stratum=1, population=500)
            db.execute("UPDATE verdicts SET verdict = 'unsure', label = 'a' WHERE image < 20 OR image = 1000")
            db.execute("UPDATE images SET digest = 'other' WHERE id IN (400, 2000)")
            db.execute("UPDATE images SET state = 'gone' WHERE id IN (401, 2001)")
            db.execute(
                "INSERT INTO ignore_edits (digest, label, path, kind, at, round, verdict)"
                " SELECT digest, 'a', path, 'added', '2026', 0, 0 FROM images WHERE id IN (402, 403, 2002)"
            )
        rule = Rule(RuleName.SCORE, 1)
        read = findings.findings(ledger, 1, rule)
        assert (len(read.reviewed), len(read.audit), len(read.undecided), len(read.unsuspected)) == (
            280, 9, 300 - 4, 2400 - 10 - 3,
        )  # fmt: skip
        assert read.audit.wrong.all()
        assert tallies.counts(ledger, 1, rule).waiting == 296
        assert findings.decided(ledger, 1) == 289


def test_the_json_holds_all_of_it(review: Project) -> None:
    document = parsed("status", "-p", review.path)
    assert document["next"] == {"why": "300 images wait for review.", "command": "dupekit export"}
    assert document["rule"] == {"name": "score", "threshold": 1}
    assert (document["suspects"], document["waiting"], document["to_apply"]) == (
        600 - document["verdicts"]["correct"], 300, document["verdicts"]["relabel"],
    )  # fmt: skip
    assert document["out"][0]["open"] == 0
    assert document["found"]["next_batch"].keys() == {"images", "low", "expected", "high"}
    assert len(document["found"]["table"]) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_it_is_no_more_than_a_screen(review: Project) -> None:
    with Ledger(review.path / LEDGER) as ledger, ledger.write() as db:
        for number in range(2, 8):  # that many trees out, to as many people
            db.execute(
                "INSERT INTO exports (id, round, key, tree, created) VALUES (?, 1, ?, ?, '2026')",
                (number, str(number), f"/a/share/of/the/laboratory/with a long name/reviewer {number}"),
            )
            db.execute(
                "INSERT INTO exported_files (export, path, image) SELECT ?, path, id FROM images WHERE id / 30 = ?",
                (number, 10 + number),
            )
    with on_terminal([sys.executable, "-m", "dupekit", "status", "-p", str(review.path)]) as (process, read):
        shown = b"".join(iter(read, b"")).decode()
        assert process.wait(30) == 0
    lines = [re.sub("\x1b[^m]*m", "", line) for line in shown.replace("\r", "").splitlines()]
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert "and 4 more trees" in shown


def test_it_takes_no_row_with_all_that_is_known_of_each_decision(review: Project) -> None:
    from dupekit.settings import read_settings
    from dupekit.workflow.session import Session
    from dupekit.workflow.status import status

    wide = 0

    def count(_: object, row: tuple[object, ...]) -> tuple[object, ...]:
        nonlocal wide
        wide += len(row) > 4
        return row

    with Ledger(review.path / LEDGER) as ledger:
        ledger.connection.row_factory = count
        status(Session(ledger, review.path, read_settings(review.path / FILE)))
    assert wide < 30
