"""`evaluate`: what is trained and tested, that it goes on where it was cut off, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dupekit import Choices
from dupekit.errors import DatasetError, JobError, LockedError, NothingToDo, UsageError
from dupekit.files.lock import exclusive
from dupekit.jobs.files import JobFile, read_model
from dupekit.jobs.images import read_images
from dupekit.project import Project
from dupekit.rounds.comparison import Measure
from dupekit.testing import make_dataset
from tests.support import dupekit, lists_of, parsed, tree_state

NAMES = ("amoeba", "ciliate", "diatom")


@pytest.fixture
def exported(trained: Project, tmp_path: Path) -> Project:
    """Two dupes in tmp_path/tree, and a copy of one in the dataset."""
    trained.flag(threshold=3)
    trained.export(tmp_path / "tree")
    return trained


@pytest.fixture
def applied(exported: Project, tmp_path: Path) -> Project:
    """Both are relabelled, in tmp_path/fixed."""
    exported.collect(finished=["amoeba", "ciliate"])
    exported.apply(tmp_path / "fixed")
    return exported


@pytest.fixture
def test_folder(tmp_path: Path) -> Path:
    """Twelve other images of the same classes."""
    return make_dataset(tmp_path / "test", classes=NAMES, per_class=4, seed=99)


def folder_of(project: Project) -> Path:
    (found,) = (project.path / "rounds/01/evaluation").glob("*/")
    return found


def trainings(folder: Path) -> dict[str, tuple[set[str], set[str]]]:
    """Of each training the digests that it was trained on, and those that it tested: what its job folder says."""
    found = {}
    for run in sorted((folder / "runs").glob("*/")):
        job = read_model(run / "job.json", JobFile)
        images = read_images(run / job.images)
        tested = np.load(run / job.split)
        digests = np.array([*images.digests])
        found[run.name] = set(digests[~tested].tolist()), set(digests[tested].tolist())
    return found


def labels(folder: Path, arm: str) -> dict[str, str]:
    """Digest -> label that is trained on."""
    images = read_images(folder / f"{arm}.npz")
    return {
        digest: images.classes[label]
        for digest, label in zip(images.digests, images.labels.tolist(), strict=True)
    }


def test_it_compares_both_on_images_that_nobody_disputed(applied: Project) -> None:
    ledger = (applied.path / "ledger.db").read_bytes()
    runs = tree_state(applied.path / "rounds/01/runs")
    found = applied.evaluate()
    assert (found.round, found.seeds, found.test, found.relabelled, found.expunged) == (1, 5, None, 2, 0)
    assert (found.images_before, found.images_after, found.tested, found.kept_out) == (36, 36, 34, 0)
    assert [len(one.before_by_seed) for one in found.measures.values()] == [5, 5, 5]
    assert found.measures[Measure.ACCURACY].after == 1
    assert sum(one.tested for one in found.classes) == 34
    assert found.trainer.name == "fake"
    # The ledger and the round's own runs are as they were.
    assert (applied.path / "ledger.db").read_bytes() == ledger
    assert tree_state(applied.path / "rounds/01/runs") == runs
    folder = folder_of(applied)
    assert json.loads((folder / "evaluation.json").read_text())["schema"] == "dupekit/evaluation/1"
    before, after = labels(folder, "before"), labels(folder, "after")
    changed = {digest for digest in before if before[digest] != after[digest]}
    assert len(changed) == 2
    made = trainings(folder)
    assert sorted(made) == [f"{arm}-{seed:02d}" for arm in ("after", "before") for seed in range(1, 6)]
    tested_by_any: list[str] = []
    for name, (trained, tested) in made.items():
        assert trained.isdisjoint(tested), "nothing that tests is trained on"
        assert changed <= trained, "what was disputed tests nothing"
        assert made[f"before{name[-3:]}"] == (trained, tested), "both see the same images"
        tested_by_any += tested if name.startswith("before") else []
    assert sorted(tested_by_any) == sorted(before.keys() - changed), "each image tests once"
    job, other = (read_model(folder / f"runs/{arm}-03/job.json", JobFile) for arm in ("before", "after"))
    assert job.seed == other.seed
    assert job.seed != read_model(folder / "runs/before-02/job.json", JobFile).seed


def test_copies_of_what_was_disputed_test_nothing_and_copies_stay_together(
    dataset: Path, project: Project, fast: dict[str, str], tmp_path: Path
) -> None:
    shutil.copy(dataset / "ciliate/wrong_amoeba.png", dataset / "amoeba/copy.png")
    for number in range(3):
        shutil.copy(dataset / "diatom/0003.png", dataset / f"diatom/again_{number}.png")
    project.scan()
    assert not project.train(Choices(pairs=3, **fast)).failed
    project.flag(threshold=3)
    project.export(tmp_path / "tree")
    project.collect(finished=["amoeba", "ciliate"], confirm=lambda _: True)
    project.apply(tmp_path / "fixed")
    found = project.evaluate()
    before = labels(folder_of(project), "before")
    assert found.images_before == 40
    assert found.tested == len(before) - 2  # each content once, and those of the two dupes not
    for trained, tested in trainings(folder_of(project)).values():
        assert trained.isdisjoint(tested)


def test_it_goes_on_where_it_was(applied: Project) -> None:
    first = applied.evaluate()
    runs = folder_of(applied) / "runs"
    (runs / "after-02/result.json").unlink()
    (runs / "before-04/predictions.npz").write_bytes((runs / "before-05/predictions.npz").read_bytes())
    kept = tree_state(runs)
    again = applied.evaluate(seeds=6)
    now = tree_state(runs)
    done = {name.split("/")[0] for name in now if now[name] != kept.get(name)} - {"worker-1.log"}
    assert done == {"after-02", "before-04", "after-06", "before-06"}
    assert again.seeds == 6
    assert applied.evaluate().measures == first.measures
    assert tree_state(runs) == now, "with all of them there, nothing is trained"


def test_a_training_that_fails_is_named_and_the_others_are_kept(applied: Project) -> None:
    broken = Choices(trainer="broken", options={"run": "after-03"})
    with pytest.raises(JobError, match=r"^1 of 10 trainings failed. after-03: .*it broke") as caught:
        applied.evaluate(broken)
    runs = folder_of(applied) / "runs"
    assert str(runs / "after-03" / "log.txt") in caught.value.hint
    assert "it broke" in (runs / "after-03/log.txt").read_text()
    assert not (runs.parent / "evaluation.json").exists()
    kept = tree_state(runs / "before-01")
    with pytest.raises(JobError, match="1 of 10"):
        applied.evaluate(broken)
    assert tree_state(runs / "before-01") == kept
    killed = Choices(trainer="broken", options={"run": "before-01", "how": "kill"})
    with pytest.raises(JobError, match=r"^1 of 10 trainings failed. before-01: The worker was killed"):
        applied.evaluate(killed)
    said = dupekit("evaluate", "-p", applied.path, "--trainer", "broken", "--set", "run=all", code=1).stderr
    assert "10 of 10 trainings failed. before-01:" in said


def test_a_folder_tests_all_of_them(applied: Project, test_folder: Path) -> None:
    found = applied.evaluate(test=test_folder)
    assert (found.tested, found.kept_out, found.left_out) == (12, 0, [])
    assert found.test == str(test_folder)
    for trained, tested in trainings(folder_of(applied)).values():
        assert (len(trained), len(tested)) == (36, 12)
        assert trained.isdisjoint(tested)
    assert found.measures[Measure.ACCURACY].after == 1
    assert not any("nobody disputed" in warning for warning in found.warnings)
    assert any(
        "Fewer than 5 test images each are of the classes amoeba, ciliate and diatom" in w
        for w in found.warnings
    )


def test_what_of_a_folder_cannot_test_is_named(applied: Project, dataset: Path, test_folder: Path) -> None:
    (test_folder / "unknown").mkdir()
    shutil.copy(test_folder / "amoeba/0000.png", test_folder / "unknown/a.png")
    (test_folder / "amoeba/broken.png").write_bytes(b"no image")
    shutil.copy(test_folder / "diatom/0001.png", test_folder / "diatom/copy.png")
    shutil.copy(test_folder / "diatom/0002.png", test_folder / "ciliate/both.png")
    shutil.copy(dataset / "diatom/0005.png", test_folder / "diatom/known.png")
    found = applied.evaluate(test=test_folder)
    reasons = {one.path: one.reason for one in found.left_out}
    assert "image" in reasons.pop("amoeba/broken.png")
    assert reasons == {
        "unknown/a.png": "the dataset has no class unknown",
        "diatom/copy.png": "a copy of another one there",
        "diatom/0002.png": "the same image lies in two classes",
        "ciliate/both.png": "the same image lies in two classes",
    }
    assert (found.tested, found.kept_out, found.images_before) == (12, 1, 35)
    for trained, tested in trainings(folder_of(applied)).values():
        assert trained.isdisjoint(tested)


def test_unfair_comparisons_are_told(
    exported: Project, dataset: Path, test_folder: Path, tmp_path: Path
) -> None:
    """A new class, an image that is gone, and one in the test folder under the label that it had."""
    shutil.copy(dataset / "ciliate/wrong_amoeba.png", test_folder / "ciliate/as_it_was.png")
    tree = tmp_path / "tree"
    (tree / "rotifer").mkdir()
    file = next(tree.glob("ciliate/*.png"))
    file.rename(tree / "rotifer" / file.name)
    file = next(tree.glob("amoeba/*.png"))
    file.rename(tree / "_expunge" / file.name)
    exported.collect(confirm=lambda _: True)
    exported.apply(tmp_path / "fixed")
    found = exported.evaluate(test=test_folder)
    assert (found.relabelled, found.expunged, found.images_before, found.images_after) == (0, 1, 35, 34)
    said = "\n".join(found.warnings)
    assert "1 test image has a label that the review found wrong" in said
    assert "1 image was expunged" in said
    by_folds = exported.evaluate()
    assert (by_folds.relabelled, by_folds.expunged) == (1, 1)
    assert "Only the corrected dataset has the class rotifer" in "\n".join(by_folds.warnings)
    assert [one.name for one in by_folds.classes][-1] == "rotifer"
    assert by_folds.classes[-1].recall_before is None


def test_suspects_without_a_verdict_do_not_test(exported: Project, tmp_path: Path) -> None:
    exported.collect(finished=["amoeba"])
    exported.apply(tmp_path / "fixed")
    found = exported.evaluate()
    assert (found.relabelled, found.tested) == (1, 34)
    assert any("1 suspect without a verdict is not among them" in warning for warning in found.warnings)


def test_what_is_confirmed_tests_and_what_is_unsure_does_not(exported: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    next(tree.glob("ciliate/*.png")).unlink()
    exported.collect(finished=["amoeba"])
    exported.apply(tmp_path / "fixed")
    assert exported.evaluate().tested == 35
    file = next(tree.glob("amoeba/*.png"))
    file.rename(tree / "_unsure" / file.name)
    exported.collect(confirm=lambda _: True)
    assert exported.status().verdicts == {"correct": 1, "unsure": 1}
    assert exported.evaluate().tested == 35


def test_there_is_nothing_to_compare(exported: Project, tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="No corrected dataset was written yet") as caught:
        exported.evaluate()
    assert "dupekit apply DEST" in caught.value.hint
    for file in (tmp_path / "tree").glob("[!._]*/*.png"):
        file.unlink()
    exported.collect(confirm=lambda _: True)
    exported.apply(tmp_path / "same")
    with pytest.raises(
        NothingToDo, match="corrected dataset of round 1 is as the original: no label was changed"
    ):
        exported.evaluate()
    said = dupekit("evaluate", "-p", exported.path, code=3).stderr
    assert "no label was changed" in said
    exported.undo()
    with pytest.raises(NothingToDo, match="No corrected dataset"):
        exported.evaluate()


def test_too_few_are_undisputed(applied: Project, monkeypatch: pytest.MonkeyPatch, test_folder: Path) -> None:
    settings = applied.path / "dupekit.toml"
    monkeypatch.setattr("dupekit.rounds.holdout.FEWEST", 100)
    with pytest.raises(
        NothingToDo, match="Only 34 of the 36 images of round 1 have a label that nobody disputed"
    ):
        Project(settings.parent).evaluate()
    assert applied.evaluate(test=test_folder).tested == 12


def test_folders_that_cannot_serve(
    applied: Project, dataset: Path, test_folder: Path, tmp_path: Path
) -> None:
    empty, one, other = tmp_path / "empty", tmp_path / "one", tmp_path / "other"
    empty.mkdir()
    for label in NAMES[:2]:
        (one / label).mkdir(parents=True)
    shutil.copy(test_folder / "amoeba/0000.png", one / "amoeba")
    make_dataset(other, classes=("krill", "squid"), per_class=2)
    for folder, said in (
        (tmp_path / "missing", "does not exist"),
        (empty, "has no class folders"),
        (test_folder / "amoeba", "has no class folders"),
        (one, f"of the 1 images in {one} only those of amoeba can test"),
        (
            other,
            f"of the 4 images in {other} none can test; two classes of the dataset are needed. krill/0000.png: the",
        ),
    ):
        with pytest.raises(DatasetError, match=r"^--test: ") as caught:
            applied.evaluate(test=folder)
        assert said in caught.value.message
    with pytest.raises(UsageError, match=r"^--test: 36 of the 36 images of the dataset lie in that folder"):
        applied.evaluate(test=dataset)
    with pytest.raises(UsageError, match="4 trainings are too few"):
        applied.evaluate(seeds=4)
    with pytest.raises(UsageError, match="There is no trainer"):
        applied.evaluate(Choices(trainer="nonsense"))


def test_the_round_is_evaluated_after_it_has_ended(applied: Project, tmp_path: Path) -> None:
    before = applied.evaluate()
    applied.next_round()
    shutil.rmtree(folder_of(applied))
    after = Project(applied.path).evaluate()
    assert after.round == 1
    assert after.measures == before.measures
    assert Project(applied.path).status().evaluation == after


def test_one_at_a_time_and_beside_other_commands(applied: Project) -> None:
    home = applied.path / "rounds/01/evaluation"
    home.mkdir()
    with (
        exclusive(home / "lock", "evaluate"),
        pytest.raises(LockedError, match="in use by `dupekit evaluate`"),
    ):
        applied.evaluate()
    with exclusive(applied.path / "lock", "train"):
        applied.evaluate()


def test_status_says_what_the_last_one_found(applied: Project, tmp_path: Path) -> None:
    assert applied.status().evaluation is None
    found = applied.evaluate()
    assert applied.status().evaluation == found
    lines = dupekit("status", "-p", applied.path).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("evaluated\t")]
    assert line.startswith("evaluated\tAccuracy ")
    (folder_of(applied) / "evaluation.json").write_text("{")
    assert applied.status().evaluation is None
    applied.evaluate()
    applied.apply(tmp_path / "fixed again")
    assert applied.status().evaluation is None, "it was of another corrected dataset"


def test_status_names_its_round_once_another_is_open(applied: Project, fast: dict[str, str]) -> None:
    applied.evaluate()
    applied.next_round()
    applied.train(Choices(pairs=1, **fast))
    assert "evaluated\tRound 1: Accuracy " in dupekit("status", "-p", applied.path).stdout


def test_what_it_prints(applied: Project, test_folder: Path) -> None:
    (test_folder / "amoeba/broken.png").write_bytes(b"no image")
    command = ("evaluate", "-p", applied.path, "--test", test_folder)
    shown = dupekit(*command, columns=80).stdout
    assert max(map(len, re.sub(r"\x1b\[\d+m", "", shown).splitlines())) <= 80
    for part in (
        "Round 1, fake: 5 trainings on 36 images",
        "macro-F1",
        "diatom",
        "Accuracy ",
        "that test nothing",
    ):
        assert part in shown
    document = parsed(*command)
    assert document["schema"] == "dupekit/evaluation/1"
    assert document["measures"]["macro-F1"]["after"] == 1
    assert document["left_out"][0]["path"] == "amoeba/broken.png"
    assert "Invalid value for '--seeds'" in dupekit(*command, "--seeds", "4", code=2).stderr


def test_groups_come_back_where_their_file_was_lost(applied: Project) -> None:
    file = applied.path / "rounds/01/images.npz"
    before = lists_of(file)
    assert before["groups"] is not None
    file.unlink()
    applied.evaluate()
    assert lists_of(file) == before
