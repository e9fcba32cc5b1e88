"""The report of a real round: also while it is trained, before and after its review, and where nothing is suspected."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dupekit import Choices
from dupekit.errors import NothingToDo, UsageError
from dupekit.files.lock import exclusive
from dupekit.project import Project
from dupekit.rounds.rules import RuleName
from dupekit.testing import make_dataset
from dupekit.workflow.selection import Selection
from tests.pictures.test_report import data_of, lines_of
from tests.support import CLASSES


def reported(project: Project, **options: Any) -> dict[str, Any]:
    made = project.report(**options)
    assert made.file.stat().st_size == made.size_bytes
    text = made.file.read_text(encoding="utf-8")
    data = data_of(text)
    assert len(lines_of(text)) == data["pictures"] == made.pictures
    assert len(data["suspects"]) == made.suspects
    assert data["total"] == made.total
    return data


def part_of_a_training(project: Project) -> None:
    """As while a training is at its last run: two pairs are complete, and nothing is counted yet."""
    with contextlib.closing(sqlite3.connect(project.path / "ledger.db")) as db, db:
        db.execute("UPDATE runs SET state = 'planned', agreement = NULL WHERE pair = 3 AND half = 'b'")
        db.execute("DELETE FROM predictions WHERE run = (SELECT id FROM runs WHERE pair = 3 AND half = 'b')")
        db.execute("DELETE FROM tallies")
        db.execute("UPDATE rounds SET tallied_pairs = 0")


def test_suspects_stand_beside_typical_images_of_both_classes(trained: Project) -> None:
    flagged = trained.flag()
    data = reported(trained)
    assert [row[1] for row in data["suspects"]] == [one.path for one in flagged.suspects]
    lines = lines_of((trained.path / "rounds/01/report.html").read_text())
    for row, one in zip(data["suspects"], flagged.suspects, strict=True):
        _, _, given, suggested, votes, score, p_given, p_suggested, decided, *beside, twins = row
        assert data["labels"][given] == one.given
        assert data["labels"][suggested] == one.suggested
        assert votes == one.votes
        assert score == pytest.approx(one.score, abs=1e-3)
        assert (p_given, p_suggested) == pytest.approx(
            (one.probability_given, one.probability_suggested), abs=1e-4
        )
        assert decided is None
        assert twins == []
        for pictures in beside:
            assert len(pictures) == 5
            assert all(not lines[number].startswith(" ") for number in pictures)


def test_figures_are_those_of_the_round(trained: Project) -> None:
    data = reported(trained)
    images, pairs = trained.status().images, 3
    cells = data["confusion"]["cells"]
    assert sum(n for _, _, n in cells) == images * pairs
    agreement = {one.label: one for one in trained.agreement().classes}
    for label, number, agreed, *_ in data["classes"]:
        one = agreement[data["labels"][label]]
        assert (number, agreed) == (one.images, one.agreement)
    for name in ("votes", "scores"):
        assert sum(data[name]["images"]) == images
        assert sum(data[name]["suspects"]) == len(data["suspects"])
        assert len(data[name]["edges"]) == len(data[name]["images"]) + 1
    assert 0.0 in data["scores"]["edges"]
    assert data["rounds"][0]["suspects"] == len(data["suspects"])
    assert data["review"] is None
    facts = dict(row for _, rows in data["facts"] for row in rows)
    assert facts["trainer.name"] == "fake"
    assert facts["dupekit"]


def test_verdicts_are_shown_and_decided_suspects_stay(trained: Project) -> None:
    before = [row[1] for row in reported(trained)["suspects"]]
    tree = trained.export(selection=Selection(everything=True)).tree
    (confirmed, *rest) = sorted(file for file in tree.rglob("*.png") if ".dupekit" not in file.parts)
    confirmed.unlink()
    rest[0].rename(tree / "_expunge" / rest[0].name)
    trained.collect(tree, finished=CLASSES, confirm=lambda _: True)
    data = reported(trained)
    assert [row[1] for row in data["suspects"]] == before  # also what is on the ignore list now
    found = sorted(row[8][0] for row in data["suspects"])
    assert found == sorted(["correct", "expunge", *["relabel"] * (len(before) - 2)])
    assert data["review"]["words"].startswith(f"{len(before)} reviewed, {len(before) - 1} wrong")
    assert data["rounds"][0]["reviewed"] == len(before)


def test_a_limit_takes_the_most_suspicious_and_says_how_many_there_are(trained: Project) -> None:
    every = reported(trained)
    assert every["total"] > 1
    first = reported(trained, limit=1)
    assert first["suspects"][0][1] == every["suspects"][0][1]
    assert first["total"] == every["total"]


def test_while_a_training_goes_on_its_complete_pairs_are_shown_and_nothing_is_recorded(
    trained: Project,
) -> None:
    part_of_a_training(trained)
    ledger = (trained.path / "ledger.db").read_bytes()
    with exclusive(trained.path / "lock", "train"):
        data = reported(trained)
        trained.class_sheets()
    assert (trained.path / "ledger.db").read_bytes() == ledger
    assert (data["pairs"], data["pairsPlanned"]) == (2, 3)
    assert data["suspects"]
    assert max(row[4] for row in data["suspects"]) == 2
    assert [(one["pairs"], one["suspects"]) for one in data["rounds"]] == [(2, len(data["suspects"]))]
    counted = {row[1]: row[4:8] for row in data["suspects"]}
    # What the next command counts, for all to see, is the same.
    flagged = trained.flag()
    assert {one.path: one.votes for one in flagged.suspects} == {
        path: row[0] for path, row in counted.items()
    }


def test_others_may_write_while_the_votes_are_counted_for_a_report(trained: Project) -> None:
    part_of_a_training(trained)
    wrote = []

    class Training:
        cancelled = False

        def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
            if stage == "counting votes" and not wrote:
                with contextlib.closing(sqlite3.connect(trained.path / "ledger.db", timeout=0.1)) as db, db:
                    db.execute("UPDATE runs SET state = 'done' WHERE pair = 3")
                wrote.append(stage)

    made = trained.report(progress=Training())
    assert wrote
    assert data_of(made.file.read_text())["pairs"] == 2  # as when it began


def test_a_command_that_clears_away_what_was_left_does_not_end_a_report(trained: Project) -> None:
    cleared = []

    class Meanwhile:
        cancelled = False

        def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
            if stage == "making thumbnails" and not cleared:
                cleared.append(Project(trained.path).flag())

    assert trained.report(progress=Meanwhile()).file.is_file()
    assert cleared


def test_without_a_complete_pair_there_is_nothing_to_report(project: Project) -> None:
    with pytest.raises(NothingToDo, match="No round has been begun"):
        project.report()


def test_nothing_suspected(trained: Project) -> None:
    trained.flag(rule=RuleName.VOTES, threshold=3)
    with contextlib.closing(sqlite3.connect(trained.path / "ledger.db")) as db, db:
        db.execute("UPDATE tallies SET votes = 0")
    data = reported(trained)
    assert data["suspects"] == []
    assert data["pictures"] == 0
    assert data["classes"]


def test_two_classes_and_one_pair(tmp_path: Path, fast: dict[str, str]) -> None:
    dataset = make_dataset(tmp_path / "data", classes=("a", "b"), per_class=6, seed=1)
    file = sorted((dataset / "a").iterdir())[0]
    file.rename(dataset / "b" / "wrong.png")
    project = Project.create(dataset, tmp_path / "project")
    project.scan()
    project.train(Choices(pairs=1, **fast))
    data = reported(project)
    assert [row[1] for row in data["suspects"]] == ["b/wrong.png"]
    assert data["labels"] == ["a", "b"]


def test_a_round_that_has_ended_is_reported_from_its_own_dataset(trained: Project, tmp_path: Path) -> None:
    before = reported(trained)
    tree = trained.export(selection=Selection(everything=True)).tree
    trained.collect(tree, finished=CLASSES, confirm=lambda _: True)
    trained.apply(tmp_path / "fixed")
    trained.next_round()
    made = trained.report(tmp_path / "ended.html")
    data = data_of(made.file.read_text())
    assert [row[1] for row in data["suspects"]] == [row[1] for row in before["suspects"]]
    assert data["dataset"] == str(tmp_path / "data")
    own = [lines_of(made.file.read_text())[row[0]] for row in data["suspects"]]
    assert not [line for line in own if line.startswith(" ")]
    assert "left" not in data["review"]["words"]


def test_a_file_that_is_gone_or_changed_is_told_of(trained: Project) -> None:
    path = trained.flag().suspects[0].path
    (trained.dataset / path).write_bytes(b"another")
    made = trained.report()
    assert made.unreadable == 1
    text = made.file.read_text()
    assert lines_of(text)[data_of(text)["suspects"][0][0]] == " The file holds another image now."


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_dataset_that_is_away_leaves_the_earlier_pages(trained: Project, left: str) -> None:
    made = (trained.report().file, trained.class_sheets().file)
    before = [file.read_bytes() for file in made]
    trained.dataset.rename(trained.path / "away")
    if left == "an empty folder":  # of a share that is not mounted
        trained.dataset.mkdir()
    for make in (trained.report, trained.class_sheets):
        with pytest.raises(UsageError, match=r"None of .* images can be read") as refused:
            make()
        assert "mounted" in refused.value.hint
    assert [file.read_bytes() for file in made] == before


def test_a_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    trained: Project, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "r.html"
    assert trained.report(out).file == out
    assert trained.report(out).file == out
    assert trained.class_sheets(out).file == out
    other = tmp_path / "thesis.html"
    other.write_text("<!DOCTYPE html>\nMy thesis")
    (tmp_path / "link.html").symlink_to(other)
    for place, said in (
        (other, "is no page of dupekit"),
        (tmp_path / "link.html", "is no page of dupekit"),
        (tmp_path, "is a folder"),
        (trained.dataset / "amoeba" / "r.html", "inside the dataset"),
        (trained.export().tree / "r.html", "review tree"),
    ):
        with pytest.raises(UsageError, match=said):
            trained.report(place)
    assert other.read_text().endswith("My thesis")
    assert not (trained.dataset / "amoeba" / "r.html").exists()


def test_a_disk_that_is_full_leaves_the_earlier_report(trained: Project, monkeypatch: Any) -> None:
    made = trained.report()
    before = made.file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dupekit.pictures.report.line", full)
    with pytest.raises(OSError, match="No space left"):
        trained.report()
    assert made.file.read_bytes() == before
    assert not re.findall(r"partial", " ".join(file.name for file in made.file.parent.iterdir()))
