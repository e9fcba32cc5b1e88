"""The Python API: the loop from scan to the next round, with fast plugins."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dupekit import Choices, Selection
from dupekit.errors import (
    DatasetChanged,
    DatasetError,
    JobError,
    LockedError,
    NotAProject,
    NothingToDo,
    OptionError,
    TreeUnavailable,
    UsageError,
)
from dupekit.files.lock import exclusive
from dupekit.files.write import read_lines
from dupekit.ledger import Ledger
from dupekit.ledger.images import ClassSize, Problem
from dupekit.project import Project
from dupekit.rounds.rules import RuleName
from dupekit.testing import make_dataset
from tests.support import CLASSES, call_back, lists_of, tree_state, write_lists

WRONG = {"ciliate/wrong_amoeba.png": "amoeba", "amoeba/wrong_diatom.png": "diatom"}


def test_the_whole_loop(trained: Project, dataset: Path, tmp_path: Path) -> None:
    before = tree_state(dataset)
    flagged = trained.flag(threshold=3)
    assert {dupe.path: dupe.suggested for dupe in flagged.suspects} == WRONG
    assert [dupe.score for dupe in flagged.suspects] == sorted(
        (d.score for d in flagged.suspects), reverse=True
    )
    exported = trained.export()
    assert exported.tree == trained.path / "rounds/01/dupes"
    folder = trained.folder_of(trained.tree()[0])
    assert read_lines(folder / "before.txt") == sorted(f.path for f in exported.manifest.files)
    collected = trained.collect(finished=CLASSES)
    assert {v.file.original: (v.verdict, v.label) for v in collected.review.verdicts} == {
        path: ("relabel", label) for path, label in WRONG.items()
    }
    applied = trained.apply(tmp_path / "fixed")
    assert sorted(
        p.relative_to(tmp_path / "fixed").as_posix() for p in applied.destination.rglob("*.png")
    ) == (sorted(WRONG.get(path, path.partition("/")[0]) + "/" + path.partition("/")[2] for path in before))
    with applied.patch.open(newline="") as file:
        assert {row["path"]: row["new_label"] for row in csv.DictReader(file)} == WRONG
    assert tree_state(dataset) == before


def test_deleting_everything_gives_the_dataset_back(trained, dataset, tmp_path) -> None:
    trained.flag(threshold=1)
    tree = trained.export().tree
    for file in tree.glob("[!.]*/*.png"):
        file.unlink()
    collected = trained.collect()
    assert {v.verdict for v in collected.review.verdicts} == {"correct"}
    assert read_lines(trained.folder_of(trained.tree()[0]) / "after.txt") == []
    trained.apply(tmp_path / "same")
    assert tree_state(tmp_path / "same") == tree_state(dataset)
    assert trained.flag(threshold=1).suspects == []  # all are on the ignore list
    assert trained.flag(threshold=1).ignored == len(collected.review.verdicts)
    with pytest.raises(NothingToDo, match="No suspect is left to review: 2 decided; 2 on the ignore list"):
        trained.export(tmp_path / "other")


def test_collect_may_be_repeated_and_put_back_takes_back(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export().tree
    file = next(tree.glob("[!.]*/*.png"))
    file.rename(tmp_path / "away.png")
    assert len(trained.collect(finished=CLASSES).changed) == 2
    assert trained.collect().changed == []
    assert len(trained.ignores()) == 1
    (tmp_path / "away.png").rename(file)
    assert [v.verdict for v in trained.collect().changed] == ["relabel"]  # its folder was said to be finished
    assert trained.ignores() == []


def test_a_tree_may_be_sent_away_and_come_back(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export(tmp_path / "tree").tree
    shutil.make_archive(str(tmp_path / "mail"), "tar", tree)
    shutil.rmtree(tree)
    with pytest.raises(TreeUnavailable):
        trained.collect()
    shutil.unpack_archive(tmp_path / "mail.tar", tmp_path / "back")
    assert len(trained.collect(tmp_path / "back").review.verdicts) == 2


def test_a_tree_of_another_project_is_refused(trained, dataset, tmp_path, fast) -> None:
    other = Project.create(dataset, tmp_path / "other")
    other.scan()
    other.train(Choices(pairs=1, **fast))
    other.flag(threshold=1)
    tree = other.export().tree
    with pytest.raises(TreeUnavailable, match="another project"):
        trained.collect(tree)


def test_two_exports_of_a_round_are_told_apart(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    first = trained.export(selection=Selection(limit=1)).tree
    second = trained.export(tmp_path / "second").tree
    assert trained.collect(first).tree == first
    with pytest.raises(UsageError, match=r"2 trees are out:\n- .*dupes .1 of 1 open.\n- .*second"):
        trained.collect()
    trained.collect(second, finished=CLASSES)
    assert trained.collect().tree == first  # the only one with open images
    trained.collect(finished=CLASSES)
    assert trained.collect().tree == second  # the last one


def test_the_next_round_is_on_the_corrected_dataset(trained, tmp_path, fast) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    trained.apply(tmp_path / "fixed", mode="symlink")
    assert trained.next_round().images == 36
    again = Project(trained.path)
    assert again.dataset == tmp_path / "fixed"
    done = again.train(Choices(pairs=3, **fast))
    assert (done.round, done.begun) == (2, True)
    assert again.flag(threshold=3).suspects == []


def test_training_goes_on_where_it_was(project, fast) -> None:
    project.train(Choices(pairs=2, **fast))
    assert project.train(Choices(pairs=2, **fast)).todo == []
    more = project.train(Choices(pairs=3, **fast))
    assert more.todo == ["p03-a", "p03-b"]
    assert more.begun is False


def test_the_same_seed_gives_the_same_votes(dataset, tmp_path, fast) -> None:
    scores = []
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        project = Project.create(dataset, tmp_path / name)
        project.scan()
        project.train(Choices(pairs=2, seed=seed, **fast))
        found = project.scores()
        scores.append([found.paths, found.suggested, found.votes.tolist(), found.scores.tolist()])
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


def test_each_image_is_predicted_once_a_pair_by_models_that_did_not_see_it(trained) -> None:
    with Ledger(trained.path / "ledger.db") as ledger:
        rows = ledger.rows(
            "SELECT image, pair, count(*) FROM predictions JOIN runs ON runs.id = run GROUP BY image, pair"
        ).fetchall()
    assert len(rows) == 36 * 3
    assert {count for _, _, count in rows} == {1}


def test_where_nothing_can_be_seen_the_models_do_not_agree(tmp_path, fast) -> None:
    for label in "abc":
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):  # equal pixels in different files
            told = PngInfo()
            told.add_text("Comment", f"{label}{number}")
            Image.new("L", (8, 8), 7).save(tmp_path / "data" / label / f"{number}.png", pnginfo=told)
    project = Project.create(tmp_path / "data", tmp_path / "project")
    project.scan()
    done = project.train(Choices(pairs=2, **fast))
    assert (done.failed, done.agreement, done.near_chance) == ([], 0, True)
    results = list((tmp_path / "project/rounds/01/runs").glob("*/result.json"))
    assert [json.loads(file.read_text())["agreement"] for file in results] == [0] * 4
    assert project.flag(threshold=1).suspects == []  # a draw is no vote, either
    assert project.verify().differences == []


def test_fixed_and_redrawn_splits(dataset, tmp_path, fast) -> None:
    drawn = {}
    for kind in ("fixed", "redraw"):
        project = Project.create(dataset, tmp_path / kind)
        project.scan()
        project.train(Choices(pairs=3, split=kind, **fast))
        drawn[kind] = {p.read_bytes() for p in (project.path / "rounds/01/splits").iterdir()}
    assert len(drawn["fixed"]) == 1
    assert len(drawn["redraw"]) == 3


def test_a_dry_run_writes_nothing(project, fast) -> None:
    before = tree_state(project.path)
    plan = project.train(Choices(pairs=4, **fast), dry_run=True)
    assert (plan.pairs, len(plan.todo), plan.images, plan.classes) == (4, 8, 36, 3)
    assert tree_state(project.path) == before


@pytest.mark.parametrize("change", ["new", "changed", "gone"])
def test_a_dataset_that_changed_since_the_scan_is_refused(project, dataset, fast, change) -> None:
    file = sorted((dataset / "amoeba").iterdir())[0]
    if change == "gone":
        file.unlink()
    else:
        Image.new("L", (9, 9)).save(file if change == "changed" else file.with_name("new.png"))
    with pytest.raises(DatasetChanged, match="changed since the last scan") as caught:
        project.train(Choices(pairs=1, **fast))
    assert "dupekit scan" in caught.value.hint
    project.scan()
    assert not project.train(Choices(pairs=1, **fast)).failed


def changed_behind_the_scans_back(dataset) -> str:
    file = sorted((dataset / "amoeba").iterdir())[0]
    stat = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return file.name


def test_a_change_behind_the_scans_back_begins_no_round(project, dataset, fast) -> None:
    name = changed_behind_the_scans_back(dataset)
    with pytest.raises(DatasetChanged, match=rf"{name} is not what the last scan saw.*\n.*scan --all"):
        project.train(Choices(pairs=1, **fast))
    assert project.status().round is None


def test_where_no_image_is_looked_at_before_it_fails_the_run_with_its_name(project, dataset, fast) -> None:
    settings = project.path / "dupekit.toml"
    settings.write_text(settings.read_text() + "near_duplicates = false\n")
    name = changed_behind_the_scans_back(dataset)
    project = Project(project.path)
    done = project.train(Choices(pairs=1, **fast))
    assert len(done.failed) == 2
    assert name in (done.failed[0].error or "")
    assert "dupekit next" in (done.failed[0].error or "")
    project.scan(every=True)
    assert len(project.train(Choices(pairs=1, **fast)).failed) == 2
    project.next_round()
    assert project.train(Choices(pairs=1, **fast)).failed == []


def test_a_second_scan_reads_no_file(project, dataset, monkeypatch) -> None:
    def no_reading(*args: object) -> bytes:
        raise AssertionError("read a file")

    monkeypatch.setattr(Path, "read_bytes", no_reading)
    found = project.scan()
    assert (found.read, found.images) == (0, 36)


def test_a_scan_follows_what_changes(project, dataset) -> None:
    files = sorted((dataset / "amoeba").iterdir())
    files[0].unlink()
    files[1].rename(dataset / "diatom" / "moved.png")
    (dataset / "amoeba" / "bad.png").write_text("no image")
    found = project.scan()
    assert (found.read, found.gone, found.images) == (2, 2, 35)
    assert found.problems == [Problem("amoeba/bad.png", "not a readable image of a known format")]
    (dataset / "amoeba" / "bad.png").unlink()
    assert project.scan().problems == []


def test_a_change_that_neither_size_nor_time_tells_is_found_by_reading_all(
    trained, dataset, tmp_path
) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    file = dataset / "diatom/0003.png"
    stat, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (trained.scan().read, trained.scan().changed) == (0, 0)
    with pytest.raises(DatasetChanged, match="not what the last scan saw") as caught:
        trained.apply(tmp_path / "fixed")
    assert "`dupekit scan --all`" in caught.value.hint
    found = trained.scan(every=True)
    assert (found.read, found.changed) == (36, 1)
    assert len(trained.apply(tmp_path / "fixed").corrections) == 2
    assert trained.verify().differences == []


def test_small_classes_are_reported_not_dropped(dataset, tmp_path, fast) -> None:
    for name, count in (("single", 1), ("twins", 2)):
        (dataset / name).mkdir()
        for i in range(count):
            Image.new("L", (8, 8), 5).save(dataset / name / f"{name}{i}.png")  # equal files
    (dataset / "empty").mkdir()
    project = Project.create(dataset, tmp_path / "project")
    assert project.scan().not_assessable == [
        ClassSize("empty", 0, 0), ClassSize("single", 1, 1), ClassSize("twins", 2, 1)
    ]  # fmt: skip
    done = project.train(Choices(pairs=1, **fast))
    assert [size.name for size in done.not_assessable] == ["single", "twins"]
    assert (done.failed, done.classes) == ([], 3)


def test_one_class_left_is_refused(dataset, tmp_path, fast) -> None:
    project = Project.create(dataset, tmp_path / "project")
    project.scan()
    with pytest.raises(DatasetError, match="Only 0 classes have at least 50 different"):
        project.train(Choices(class_min=50, **fast))


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"trainer": "nope"}, UsageError, "There is no trainer 'nope'"),
        ({"executor": "nope"}, UsageError, "There is no executor 'nope'"),
        ({"options": {"size": 3}}, OptionError, "no option 'size'. Did you mean size_px"),
        ({"options": {"size_px": "big"}}, OptionError, "size_px='big'"),
        ({"options": {"validator.nope": 1}}, OptionError, "no option 'nope'"),
        (
            {"trainer": "probe"},
            UsageError,
            "(?s)makes: models of the format 'onnx'. It reads 'centroids'.*--validator onnx",
        ),
        ({"split": "half"}, UsageError, "split: Input should be 'redraw' or 'fixed'"),
    ],
)
def test_wrong_choices_show_before_anything_starts(project, fast, choices, error, message) -> None:
    with pytest.raises(error, match=message):
        project.train(Choices(pairs=1, **{**fast, **choices}))
    assert project.status().round is None


def spoilt(change: dict[str, object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with np.load(folder / "predictions.npz") as file:
            content = dict(file)
        for name, value in change.items():
            content[name] = value(content[name]) if callable(value) else value
        np.savez(folder / "predictions.npz", **content)

    return spoil


def other_run_s(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder.parent / "p02-a" / name).read_bytes()) and None


def with_first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[0, 0] = value
        return rows

    return change


SPOILT = {
    "of another run": other_run_s("predictions.npz"),
    "result of another run": other_run_s("result.json"),
    "half the rows": spoilt({"images": lambda a: a[::2], "probabilities": lambda a: a[::2]}),
    "other images": spoilt({"images": lambda a: a + 1}),
    "another number of classes": spoilt({"probabilities": lambda a: np.hstack([a, a])}),
    "not a number": spoilt({"probabilities": with_first(np.nan)}),
    "infinite": spoilt({"probabilities": with_first(np.inf)}),
    "negative": spoilt({"probabilities": with_first(-0.5)}),
    "sums": spoilt({"probabilities": lambda a: a * 2}),
    "not JSON": lambda folder: (folder / "result.json").write_text("{") and None,
    "another file": lambda folder: (folder / "result.json").write_text('{"schema": "else"}') and None,
    "no archive": lambda folder: (folder / "predictions.npz").write_bytes(b"PK no archive") and None,
    "cut off": lambda folder: os.truncate(folder / "predictions.npz", 500),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_result_that_does_not_fit_its_run_is_named_and_done_again(trained, fast, how: str, caplog) -> None:
    before = trained.flag(threshold=3).suspects
    SPOILT[how](trained.path / "rounds/01/runs/p01-a")
    with Ledger(trained.path / "ledger.db") as ledger, ledger.write() as db:
        db.execute("DELETE FROM predictions")  # as if all had just come from a cluster
        db.execute("UPDATE runs SET state = 'planned'")
        db.execute("UPDATE rounds SET tallied_pairs = 0")
    told: list[str] = []
    done = trained.train(Choices(**fast), ended=lambda run: told.append(run.name))
    assert done.failed == []
    assert told == ["p01-a"]  # the others are taken up as they are
    assert trained.flag(threshold=3).suspects == before
    assert "p01-a is done again" in caplog.text


def test_images_and_splits_that_were_lost_come_back(trained, fast, caplog) -> None:
    before = trained.flag(threshold=3).suspects
    folder = trained.path / "rounds/01"
    images = lists_of(folder / "images.npz")
    split = (folder / "splits/p01.npy").read_bytes()
    (folder / "images.npz").write_text("{")
    (folder / "splits/p01.npy").write_bytes(b"no split")
    (folder / "splits/p02.npy").unlink()
    shutil.rmtree(folder / "runs/p01-b")
    assert trained.train(Choices(**fast)).failed == []
    assert lists_of(folder / "images.npz") == images
    assert (folder / "splits/p01.npy").read_bytes() == split
    assert trained.flag(threshold=3).suspects == before
    assert "written anew" in caplog.text
    with Ledger(trained.path / "ledger.db") as ledger, ledger.write() as db:
        db.execute("DELETE FROM tallies")
        db.execute("UPDATE rounds SET tallied_pairs = 0")
    (folder / "images.npz").unlink()
    with pytest.raises(JobError, match=r"images\.npz cannot be read") as caught:
        trained.train(Choices(**fast))
    assert "dupekit next" in caught.value.hint
    trained.next_round()
    assert trained.train(Choices(pairs=1, **fast)).round == 2


def test_images_of_another_round_are_not_trained_on(trained, fast, caplog) -> None:
    folder = trained.path / "rounds/01"
    images = lists_of(folder / "images.npz")
    splits = {file.name: file.read_bytes() for file in (folder / "splits").iterdir()}
    rows = ("ids", "paths", "digests", "sizes", "labels", "groups")
    fewer = {name: column[:-1] if name in rows and column else column for name, column in images.items()}
    write_lists(folder / "images.npz", fewer)
    shutil.rmtree(folder / "runs/p01-b")
    assert trained.train(Choices(**fast)).failed == []
    assert (
        f"is of another round: it has {len(images['ids']) - 1} images, not {len(images['ids'])}."
        in caplog.text
    )
    assert lists_of(folder / "images.npz") == images
    assert {file.name: file.read_bytes() for file in (folder / "splits").iterdir()} == splits


def test_a_file_of_the_user_s_takes_no_library_s_place(project, fast, tmp_path, monkeypatch) -> None:
    for name in ("random.py", "json.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.chdir(tmp_path)
    assert project.train(Choices(pairs=1, **fast)).failed == []


def test_options_are_checked_against_the_trainer_of_the_round(project, fast) -> None:
    broken = Choices(pairs=1, trainer="broken", validator="fake", options={"run": "p02-b"})
    assert not project.train(broken).failed
    # Nothing is said of the trainer, which by dupekit.toml would be another one without such options.
    assert project.train(Choices(pairs=2, options={"run": "p02-b"})).todo == ["p02-a", "p02-b"]
    with pytest.raises(OptionError, match="has no option 'epochs'"):
        project.train(Choices(options={"epochs": 3}))


def test_a_round_in_which_nothing_succeeded_binds_nothing(project, fast) -> None:
    broken = Choices(pairs=1, trainer="broken", validator="fake", options={"run": "all"})
    assert len(project.train(broken).failed) == 2
    done = project.train(Choices(pairs=2, seed=5, **fast))
    assert (done.round, done.begun, done.pairs, done.failed) == (1, True, 2, [])
    assert done.plan.trainer.name == "fake"
    assert len(project.status().runs) == 4
    assert project.flag(threshold=2).pairs == 2
    with pytest.raises(UsageError, match="was begun with seed 5, not 6"):
        project.train(Choices(seed=6))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "CPU"])
def test_a_device_that_there_is_not_is_refused_at_once(project, fast, device: str) -> None:
    with pytest.raises(UsageError, match="There is no device"):
        project.train(Choices(device=device, **fast))
    assert project.status().round is None


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_gpu_that_is_not_here_is_refused_at_once(
    project, fast, monkeypatch: pytest.MonkeyPatch, device: str, dry_run: bool
) -> None:
    monkeypatch.setattr("dupekit.jobs.places.cuda_devices", lambda: 0)
    with pytest.raises(UsageError, match=f"This machine has no GPU, and the device is '{device}'"):
        project.train(Choices(pairs=1, device=device, **fast), dry_run=dry_run)
    assert project.status().round is None
    # Another executor's machines may have one.
    assert project.train(Choices(pairs=1, device=device, **fast, executor="here")).failed == []
    # Where nothing is to do, nothing is missing.
    assert project.train(Choices(pairs=1, device=device)).todo == []


@pytest.mark.parametrize("choice", [{"pairs": -1}, {"pairs": 0}, {"seed": -1}, {"class_min": 1}])
def test_numbers_that_cannot_be_are_refused_in_the_api_too(trained, choice: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(choice))):
        trained.train(Choices(**choice))


def test_a_round_is_of_one_kind(project, fast) -> None:
    project.train(Choices(pairs=1, **fast))
    with pytest.raises(UsageError, match="Round 1 was begun with seed 0, not 9"):
        project.train(Choices(pairs=2, seed=9, **fast))
    with pytest.raises(UsageError, match=r"with trainer fake \(size_px=8\), not fake \(size_px=5\)"):
        project.train(Choices(pairs=2, options={"size_px": 5}, **fast))
    with pytest.raises(UsageError, match="Round 1 was begun with trainer fake, not broken"):
        project.train(Choices(pairs=2, **fast | {"trainer": "broken"}))


def test_of_options_that_contradict_only_those_are_named(project, fast) -> None:
    broken = fast | {"trainer": "broken"}
    project.train(Choices(pairs=1, **broken))
    with pytest.raises(UsageError, match=r"with trainer broken \(how=raise\), not broken \(how=none\);"):
        project.train(Choices(pairs=1, **broken, options={"how": "none"}))


@pytest.mark.parametrize(
    ("how", "error"),
    [("raise", "RuntimeError: it broke"), ("kill", "killed by signal 9"), ("classes", "broke its contract")],
)
def test_a_run_that_fails_stops_no_other(project, fast, how, error) -> None:
    done = project.train(Choices(pairs=2, **{**fast, "trainer": "broken"}, options={"how": how}))
    (failed,) = done.failed
    assert failed.name == "p02-a"
    assert error in (failed.error or "")
    flagged = project.flag(threshold=1)
    assert (flagged.pairs, flagged.pairs_planned) == (1, 2)
    again = project.train(Choices(**{**fast, "trainer": "broken"}))
    assert again.todo == ["p02-a"]


def test_an_incomplete_round_scales_no_threshold(project, fast) -> None:
    project.train(Choices(pairs=5, **{**fast, "trainer": "broken"}, options={"run": "p05-b"}))
    flagged = project.flag(rule=RuleName.VOTES)
    assert (flagged.pairs, flagged.pairs_planned, flagged.rule.threshold) == (4, 5, 4)
    with pytest.raises(UsageError, match="threshold of 6 votes cannot be reached"):
        project.flag(threshold=6)


def test_the_ignore_list_goes_by_content_and_label(trained, dataset) -> None:
    assert trained.ignore(["ciliate/wrong_amoeba.png"]) == 1
    assert trained.ignore(["ciliate/wrong_amoeba.png"]) == 0
    assert "ciliate/wrong_amoeba.png" not in {dupe.path for dupe in trained.flag(threshold=3).suspects}
    assert trained.unignore(["ciliate/wrong_amoeba.png"]) == 1
    assert "ciliate/wrong_amoeba.png" in {dupe.path for dupe in trained.flag(threshold=3).suspects}
    with pytest.raises(UsageError, match="no image ciliate/else"):
        trained.ignore(["ciliate/else.png"])


def test_what_there_is_nothing_for_is_said(project, tmp_path) -> None:
    for call in (project.flag, project.export, project.collect, project.next_round):
        with pytest.raises(NothingToDo, match="No round has been begun"):
            call()
    with pytest.raises(NothingToDo):
        project.apply(tmp_path / "out")


def test_where_a_project_may_be(dataset, tmp_path, project) -> None:
    with pytest.raises(UsageError, match="is a dupekit project already"):
        Project.create(dataset, project.path)
    with pytest.raises(UsageError, match="would lie inside the dataset"):
        Project.create(dataset, dataset / "project")
    with pytest.raises(NotAProject):
        Project(tmp_path)
    with pytest.raises(NotAProject, match="or a folder above"):
        Project.find(tmp_path)
    (project.path / "deep").mkdir()
    assert Project.find(project.path / "deep").path == project.path
    assert sorted(path.name for path in dataset.iterdir()) == ["amoeba", "ciliate", "diatom"]


def test_nothing_is_exported_into_the_dataset(trained, dataset) -> None:
    trained.flag(threshold=1)
    with pytest.raises(UsageError, match="lies inside the dataset"):
        trained.export(dataset / "dupes")


def test_two_processes_on_one_project(project, fast) -> None:
    with exclusive(project.path / "lock", "train"):
        with pytest.raises(LockedError, match=f"`dupekit train`, process {os.getpid()}"):
            project.scan()
        assert project.status().images == 36  # reading is free


def test_a_killed_training_goes_on(project, fast) -> None:
    command = [sys.executable, "-m", "dupekit", "train", "-p", str(project.path), "--pairs", "4",
               "--trainer", "fake", "--validator", "fake"]  # fmt: skip
    training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    runs = project.path / "rounds" / "01" / "runs"
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/result.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    training.send_signal(signal.SIGKILL)
    training.wait()
    finished = len(list(runs.glob("*/result.json")))
    assert finished >= 1
    done = project.train(Choices(**fast))
    assert done.failed == []
    assert project.status().pairs_done == 4
    assert project.flag(threshold=4).suspects


AWKWARD = [
    b"new\nline",
    b"tab\t",
    b"quo'te\"",
    b"-rf",
    b" spaces ",
    b"\xff\xfe",
    b"b\\slash",
    b"x" * 240,
    b"CON",
]


def test_awkward_names_survive_the_whole_loop(tmp_path, fast) -> None:
    dataset = make_dataset(tmp_path / "data", classes=("a", "b"), per_class=12)
    (tmp_path / "data" / "a").rename(tmp_path / "data" / os.fsdecode(b"-cl\xffass\n[b] "))
    first, second = sorted(dataset.iterdir())
    for file, name in zip(sorted(first.iterdir()), AWKWARD, strict=False):
        file.rename(second / os.fsdecode(name + b".png"))
    before = tree_state(dataset)
    project = Project.create(dataset, tmp_path / "project")
    assert project.scan().problems == []
    assert not project.train(Choices(pairs=3, **fast)).failed
    moved = len(project.flag(threshold=1).suspects)
    assert moved >= len(AWKWARD) // 2
    tree = project.export(tmp_path / "tree").tree
    keep, *others = project.collect().review.verdicts
    (tree / keep.file.path).unlink()
    collected = project.collect(finished={one.file.given for one in others})
    assert [v.verdict for v in collected.review.verdicts].count("correct") == 1
    applied = project.apply(tmp_path / "fixed")
    assert len(applied.corrections) == moved - 1
    assert tree_state(dataset) == before
    contents = sorted(content for content, _ in before.values())
    assert sorted(content for content, _ in tree_state(tmp_path / "fixed").values()) == contents


def test_a_closed_round_is_not_applied_again(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    patch = trained.apply(tmp_path / "fixed").patch
    before = patch.read_bytes()
    trained.next_round()
    for call in (lambda: trained.apply(tmp_path / "again"), trained.flag, trained.export, trained.next_round):
        with pytest.raises(NothingToDo, match="Round 1 is closed"):
            call()
    assert patch.read_bytes() == before
    assert not (tmp_path / "again").exists()


def test_a_verdict_is_on_a_content_not_on_a_path(trained, dataset, tmp_path) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    Image.new("L", (20, 20), 3).save(dataset / "ciliate" / "wrong_amoeba.png")
    trained.scan()
    assert {c.path for c in trained.apply(tmp_path / "fixed").corrections} == {"amoeba/wrong_diatom.png"}
    flagged = trained.flag(threshold=3)
    assert [dupe.path for dupe in flagged.suspects] == ["amoeba/wrong_diatom.png"]
    assert flagged.outdated == 1


def test_what_another_project_left_behind_is_not_taken_for_a_result(trained, dataset, tmp_path, fast) -> None:
    (trained.path / "dupekit.toml").unlink()
    (trained.path / "ledger.db").unlink()
    again = Project.create(dataset, trained.path)
    again.scan()
    done = again.train(Choices(pairs=1, **fast))
    assert done.failed == []
    assert len(again.status().runs) == 2
    assert len(list((trained.path / "rounds").glob("01.old-*/runs/p03-b"))) == 1


def test_a_round_that_was_killed_before_it_was_recorded_leaves_nothing_behind(project, fast) -> None:
    folder = project.path / "rounds" / "01"
    folder.mkdir(parents=True)
    for name in ("images.npz", ".images.npz.abcd1234.partial"):
        (folder / name).write_bytes(b"half")
    assert not project.train(Choices(pairs=1, **fast)).failed
    assert [path.name for path in folder.parent.iterdir()] == ["01"]
    assert not list(folder.glob(".*"))


def test_an_older_tree_takes_nothing_back(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    first = trained.export(tmp_path / "first").tree
    call_back(trained)
    second = trained.export(tmp_path / "second").tree
    trained.collect(first, finished=CLASSES)
    for file in second.glob("[!.]*/*.png"):
        file.unlink()
    assert {v.verdict for v in trained.collect().changed} == {"correct"}
    assert trained.collect(first).changed == []
    assert len(trained.ignores()) == 2
    left = [read_lines(trained.folder_of(trained.tree(tree)[0]) / "after.txt") for tree in (first, second)]
    assert [len(paths) for paths in left] == [2, 0]


def test_a_copy_that_was_confirmed_too_keeps_its_place_on_the_ignore_list(dataset, tmp_path, fast) -> None:
    wrong = dataset / "ciliate" / "wrong_amoeba.png"
    shutil.copy(wrong, wrong.with_name("wrong_copy.png"))
    project = Project.create(dataset, tmp_path / "project")
    project.scan()
    project.train(Choices(pairs=3, **fast))
    project.flag(threshold=3)
    tree = project.export().tree
    twins = sorted(tree.glob("ciliate/*.png"))
    assert len(twins) == 2
    kept = twins[0].read_bytes()
    for twin in twins:
        twin.unlink()
    project.collect()
    assert len(project.ignores()) == 1
    twins[0].write_bytes(kept)
    project.collect()
    assert len(project.ignores()) == 1


def test_a_file_that_cannot_be_read_holds_nothing_up(dataset, tmp_path, fast, monkeypatch) -> None:
    locked = dataset / "amoeba" / "locked.png"
    Image.new("L", (9, 9)).save(locked)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    project = Project.create(dataset, tmp_path / "project")
    assert project.scan().problems == [Problem("amoeba/locked.png", "cannot be read: Permission denied")]
    assert not project.train(Choices(pairs=3, **fast)).failed
    project.flag(threshold=3)
    project.export()
    project.collect(finished=CLASSES)
    applied = project.apply(tmp_path / "fixed")
    assert (applied.unread, applied.files) == (["amoeba/locked.png"], 36)
    monkeypatch.undo()
    assert project.scan().problems == []  # tried again by every scan


def test_a_flagging_by_fewer_votes_does_not_linger(project, fast) -> None:
    choices = {**fast, "trainer": "broken"}
    project.train(Choices(pairs=3, options={"run": "p03-a", "how": "kill"}, **choices))
    assert project.flag(threshold=3).suspects == []
    # The run that failed is done elsewhere meanwhile, as a cluster would.
    job = project.path / "rounds/01/runs/p03-a/job.json"
    job.write_text(job.read_text().replace('"run": "p03-a"', '"run": "none"'))
    subprocess.run([sys.executable, "-m", "dupekit.jobs", job.parent], check=True, capture_output=True)
    assert project.train(Choices(**choices)).todo == []
    assert len(project.export().manifest.files) == 2


@pytest.mark.parametrize("damage", ["gone", "folder gone", "cut short"])
def test_predictions_that_were_lost_are_made_again(trained, fast, damage: str) -> None:
    before = trained.scores()
    folder = trained.path / "rounds/01/runs/p02-a"
    if damage == "folder gone":
        shutil.rmtree(folder)
    elif damage == "gone":
        (folder / "predictions.npz").unlink()
    else:
        content = (folder / "predictions.npz").read_bytes()
        (folder / "predictions.npz").write_bytes(content[: len(content) // 2])
    assert trained.train(Choices(**fast)).todo == ["p02-a"]
    assert trained.verify().differences == []
    assert "p02-a" not in trained.train(Choices(pairs=4, **fast)).todo
    assert trained.status().pairs_done == 4
    assert len(trained.scores()) == len(before)


def test_raising_the_limit_takes_large_images_in(dataset, tmp_path) -> None:
    project = Project.create(dataset, tmp_path / "project")
    toml = project.path / "dupekit.toml"
    toml.write_text(toml.read_text() + "\nmax_pixels = 1100\n")
    small = Project(project.path).scan()
    assert 0 < len(small.problems) < 36
    assert "more than the limit of 1100" in small.problems[0].problem
    assert Project(project.path).scan().read == 0
    toml.write_text(toml.read_text().replace("max_pixels = 1100", "max_pixels = 100000"))
    again = Project(project.path).scan()
    assert (again.problems, again.images) == ([], 36)


def test_the_next_round_takes_a_relative_path_to_its_own_links(trained, tmp_path, monkeypatch) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    trained.apply(tmp_path / "linked", mode="symlink")
    monkeypatch.chdir(tmp_path)
    assert trained.next_round(Path("linked")).images == 36


@pytest.mark.parametrize("own", [False, True])
def test_links_are_followed_while_the_dataset_is_made_of_them(
    trained, tmp_path, dataset, fast, own: bool
) -> None:
    """What a person set stays; what `next` set for links of dupekit's own goes with them."""
    toml = trained.path / "dupekit.toml"
    if own:
        toml.write_text(toml.read_text().replace("# follow_symlinks = false", "follow_symlinks = true"))
    toml.write_text(f"{toml.read_text()}\n# my own remark\n[options]\nsize_px = 6\n")

    trained = Project(trained.path)
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    trained.apply(tmp_path / "copied")
    trained.apply(tmp_path / "linked", mode="symlink")

    def go_on(place: Path | None = None) -> tuple[bool, bool]:
        trained.train(Choices(pairs=1, **fast))
        assert trained.next_round(place).images == 36
        assert Project(trained.path).settings == trained.settings
        assert (trained.settings.options, "# my own remark" in toml.read_text()) == ({"size_px": 6}, True)
        return trained.settings.follow_symlinks, "`dupekit next`" in toml.read_text()

    assert go_on() == (True, not own)
    assert go_on() == (True, not own)  # on the same dataset
    assert go_on(tmp_path / "copied") == (own, False)
    assert go_on(tmp_path / "linked") == (True, not own)  # of an earlier round
    assert go_on(dataset) == (own, False)


def test_an_export_counts_the_votes_that_a_killed_training_left_uncounted(trained, monkeypatch, fast) -> None:
    trained.flag(threshold=3)
    monkeypatch.setattr("dupekit.workflow.train.count_votes", lambda *_: 0)  # as if killed before
    trained.train(Choices(pairs=4, **fast))
    monkeypatch.undo()
    exported = trained.export()
    assert exported.manifest.pairs == 4
    assert {file.votes for file in exported.manifest.files} == {4}
