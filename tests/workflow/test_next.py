"""`next`: refuses what would drop work, is a step of the history, and can be taken back until the next training."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.errors import NothingToDo, UsageError
from dupekit.project import Project
from dupekit.settings import read_settings
from tests.support import dupekit, parsed, tree_state
from tests.workflow.test_cuts import Cutter, again, leftovers


@pytest.fixture
def exported(trained: Project, tmp_path: Path) -> Project:
    """Two dupes in tmp_path/tree."""
    trained.flag(threshold=3)
    trained.export(tmp_path / "tree")
    return trained


@pytest.fixture
def reviewed(exported: Project, tmp_path: Path) -> Project:
    """One is right, and one wrong as suggested."""
    review(tmp_path / "tree")
    exported.collect(who="Ada")
    return exported


def review(tree: Path) -> None:
    next(tree.glob("ciliate/*.png")).unlink()
    file = next(tree.glob("amoeba/*.png"))
    (tree / "_done").mkdir(exist_ok=True)
    file.rename(tree / "_done" / file.name)


def refused(project: Project) -> str:
    with pytest.raises(UsageError) as caught:
        project.next_round()
    assert "next --drop" in caught.value.hint
    assert caught.value.message.startswith("Round 1 is not finished:\n- ")
    return caught.value.message


def test_each_reason_is_named_with_what_to_do(exported: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    before = tree_state(exported.path)
    said = refused(exported)
    assert f"{tree} is out, with 2 of 2 images open" in said
    assert f"dupekit withdraw {tree}" in said
    assert "not collected" not in said
    review(tree)
    said = refused(exported)
    assert "2 of 2 images open" in said
    assert f"{tree} holds 2 verdicts that are not collected: dupekit collect {tree}" in said
    exported.collect()
    said = refused(exported)
    assert said.splitlines()[1:] == ["- 1 correction is in no corrected dataset yet: dupekit apply DEST"]
    exported.apply(tmp_path / "fixed")
    assert before.keys() <= tree_state(exported.path).keys()
    assert exported.next_round().images == 36
    assert exported.dataset == tmp_path / "fixed"


def test_what_was_decided_after_the_apply_is_to_be_applied(reviewed: Project, tmp_path: Path) -> None:
    reviewed.apply(tmp_path / "fixed")
    (file,) = (tmp_path / "tree" / "_done").iterdir()
    file.rename(tmp_path / "tree" / "_expunge" / file.name)
    assert "holds 1 verdict that is" in refused(reviewed)
    reviewed.collect()
    assert "- 1 correction is in no" in refused(reviewed)
    reviewed.apply(tmp_path / "fixed again")
    reviewed.undo()
    assert "- 1 correction is in no" in refused(reviewed)  # those of the first are others
    reviewed.apply(tmp_path / "fixed thrice")
    assert reviewed.next_round().images == 35


def test_a_file_that_was_renamed_in_the_dataset_is_to_be_applied_where_it_is(
    reviewed: Project, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "amoeba/wrong_diatom.png").rename(dataset / "amoeba/renamed.png")
    reviewed.scan()
    assert "- 1 correction is in no" in refused(reviewed)
    assert reviewed.status().to_apply == 1
    reviewed.apply(tmp_path / "fixed")
    reviewed.next_round()
    assert (tmp_path / "fixed/diatom/renamed.png").is_file()


def test_what_can_not_be_applied_holds_nothing_up(reviewed: Project, dataset: Path) -> None:
    (dataset / "amoeba/wrong_diatom.png").unlink()
    reviewed.scan()
    found = reviewed.status()
    assert (found.to_apply, [one.reason for one in found.unapplied]) == (0, ["gone"])
    assert reviewed.next_round().images == 35


def test_a_tree_that_is_away_counts_by_what_the_ledger_knows(exported: Project, tmp_path: Path) -> None:
    (tmp_path / "tree").rename(tmp_path / "carried")
    assert "2 of 2 images open" in refused(exported)
    review(tmp_path / "carried")
    exported.collect(tmp_path / "carried")
    shutil.rmtree(tmp_path / "carried")
    exported.apply(tmp_path / "fixed")
    exported.next_round()


def test_a_copy_that_was_collected_goes_before_the_untouched_tree(exported: Project, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "tree", tmp_path / "carried")
    review(tmp_path / "carried")
    exported.collect(tmp_path / "carried")
    assert refused(exported).splitlines()[1:] == [
        "- 1 correction is in no corrected dataset yet: dupekit apply DEST"
    ]


def test_a_tree_that_was_called_back_is_not_waited_for(exported: Project) -> None:
    exported.withdraw()
    exported.next_round()


def test_drop_goes_on_all_the_same(exported: Project, dataset: Path, tmp_path: Path) -> None:
    review(tmp_path / "tree")
    refused(exported)
    exported.next_round(drop=True, who="Ada")
    assert exported.dataset == dataset
    with pytest.raises(NothingToDo, match="is closed"):
        exported.next_round()
    assert exported.undo().who == "Ada"
    assert len(exported.collect().changed) == 2


def test_it_is_a_step_and_can_be_taken_back(reviewed: Project, dataset: Path, tmp_path: Path) -> None:
    settings = (reviewed.path / "dupekit.toml").read_text()
    reviewed.apply(tmp_path / "fixed", who="Ada")
    listed = reviewed.scores().paths
    reviewed.next_round(who="Grace")
    assert "fixed" in (reviewed.path / "dupekit.toml").read_text()
    step = reviewed.undo()
    assert (step.what, step.round, step.who, step.count, step.place) == (
        "next", 1, "Grace", 0, str(tmp_path / "fixed"),
    )  # fmt: skip
    assert (reviewed.path / "dupekit.toml").read_text() == settings
    assert reviewed.dataset == dataset
    found = reviewed.status()
    assert (found.round.number, found.round.closed, found.images) == (1, None, 36)
    assert reviewed.scores().paths == listed
    assert reviewed.verify().differences == []
    assert [(s.what, s.undone is None) for s in reviewed.history()] == [
        ("collect", True), ("apply", True), ("next", False),
    ]  # fmt: skip
    assert reviewed.undo().what == "apply"
    reviewed.apply(tmp_path / "other")
    reviewed.next_round()
    assert reviewed.dataset == tmp_path / "other"
    assert [s.what for s in reviewed.history()] == ["collect", "apply", "next", "apply", "next"]
    assert [reviewed.undo().what for _ in range(3)] == ["next", "apply", "collect"]


def test_not_once_the_next_training_has_begun(reviewed: Project, tmp_path: Path, fast) -> None:
    reviewed.apply(tmp_path / "fixed")
    reviewed.next_round()
    assert not reviewed.train(Choices(pairs=1, **fast)).failed
    before = reviewed.history(), reviewed.ignores(), reviewed.dataset
    with pytest.raises(UsageError, match="ended round 1, and the training of the next round has begun"):
        reviewed.undo()
    assert (reviewed.history(), reviewed.ignores(), reviewed.dataset) == before


def test_a_dataset_that_is_away_leaves_all_as_it_is(reviewed: Project, dataset: Path, tmp_path: Path) -> None:
    reviewed.apply(tmp_path / "fixed")
    reviewed.next_round()
    dataset.rename(tmp_path / "away")
    before = (reviewed.path / "dupekit.toml").read_text()
    with pytest.raises(Exception, match="data"):
        reviewed.undo()
    assert (reviewed.path / "dupekit.toml").read_text() == before
    (tmp_path / "away").rename(dataset)
    assert reviewed.undo().what == "next"


def test_links_that_next_follows_are_no_setting_any_more(reviewed: Project, tmp_path: Path) -> None:
    settings = (reviewed.path / "dupekit.toml").read_text()
    reviewed.apply(tmp_path / "fixed", mode="symlink")
    assert reviewed.next_round().images == 36
    assert read_settings(reviewed.path / "dupekit.toml").follow_symlinks
    reviewed.undo()
    assert (reviewed.path / "dupekit.toml").read_text() == settings
    assert reviewed.status().images == 36


def test_the_end_can_be_taken_back_and_the_refusal_says_so(reviewed: Project) -> None:
    reviewed.next_round(drop=True)
    assert "`dupekit undo` takes the end back" in dupekit("export", "-p", reviewed.path, code=3).stderr


def test_another_dataset_than_a_call_that_was_done_went_to(
    reviewed: Project, tmp_path: Path, dataset
) -> None:
    reviewed.apply(tmp_path / "fixed")
    reviewed.next_round()
    with pytest.raises(NothingToDo, match="is closed"):
        reviewed.next_round(dataset)
    assert reviewed.dataset == tmp_path / "fixed"


def test_the_commands_say_so(reviewed: Project, dataset: Path, tmp_path: Path) -> None:
    said = dupekit("next", "-p", reviewed.path, code=2)
    assert "1 correction is in no corrected dataset" in said.stderr
    assert "--drop" in said.stderr
    dupekit("next", "-p", reviewed.path, "--drop")
    assert [step["what"] for step in parsed("history", "-p", reviewed.path)] == ["collect", "next"]
    said = dupekit("undo", "-p", reviewed.path)
    assert "Took back the end of round 1 on " in said.stdout
    assert f"open again, on {dataset}" in said.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are forked")
@pytest.mark.parametrize("how", ["killed", "interrupted", "full"])
@pytest.mark.timeout(300)
class TestCutOff:
    """By a kill, Ctrl-C or a disk that is full from then on: the same command goes on."""

    def test_next(self, reviewed: Project, in_memory: Path, tmp_path: Path, how: str) -> None:
        project = applied_in(in_memory / "cut", reviewed, tmp_path)
        for _ in Cutter(project.path, f"Project(Path({str(project.path)!r})).next_round()", how):
            again(Project(project.path).next_round, "is closed")
            found = Project(project.path)
            assert found.dataset == tmp_path / "fixed"
            assert found.verify(quick=True).differences == []
            assert [(step.what, step.undone) for step in found.history()][2:] == [("next", None)]
            assert found.undo().what == "next"
            assert (Project(project.path).dataset, found.status().round.closed) == (tmp_path / "data", None)
            assert found.verify(quick=True).differences == []
            assert leftovers(project.path) == []

    def test_undo(self, reviewed: Project, in_memory: Path, tmp_path: Path, how: str) -> None:
        project = applied_in(in_memory / "cut", reviewed, tmp_path)
        project.next_round()
        for _ in Cutter(project.path, f"Project(Path({str(project.path)!r})).undo()", how):
            found = Project(project.path)
            if found.status().round.closed:
                assert found.undo().what == "next"
            assert found.dataset == tmp_path / "data"
            assert [(step.what, step.undone is None) for step in found.history()][1:] == [
                ("apply", True), ("next", False),
            ]  # fmt: skip
            assert found.verify(quick=True).differences == []
            assert leftovers(project.path) == []

    def test_next_goes_forward_after_an_undo_that_was_cut_off(
        self, reviewed: Project, in_memory: Path, tmp_path: Path, how: str
    ) -> None:
        project = applied_in(in_memory / "cut", reviewed, tmp_path)
        project.next_round()
        for _ in Cutter(project.path, f"Project(Path({str(project.path)!r})).undo()", how):
            found = Project(project.path)
            again(found.next_round, "is closed")
            assert Project(project.path).dataset == tmp_path / "fixed"
            assert found.status().round.closed
            assert found.verify(quick=True).differences == []


def applied_in(folder: Path, reviewed: Project, tmp_path: Path) -> Project:
    """The project, applied, in another folder: alone, so that all of it can be put back."""
    reviewed.apply(tmp_path / "fixed")
    shutil.copytree(reviewed.path, folder)
    return Project(folder)
