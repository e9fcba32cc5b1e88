"""Two exports of the same images: of each image the latest decision counts, and an old tree decides nothing anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dupekit.files.paths import real_path
from dupekit.project import Project
from dupekit.workflow.collect import all_finished
from tests.reviewed import export_again, exported_project

CILIATE, AMOEBA = "ciliate/1.bmp", "amoeba/1.bmp"
IMAGES = {CILIATE: "amoeba", AMOEBA: "diatom"}


def delete(project: Project, tree: Path, image: str) -> None:
    in_tree(project, tree, image).unlink()


def put_back(project: Project, tree: Path, image: str) -> None:
    shutil.copy(project.dataset / image, in_tree(project, tree, image))


def in_tree(project: Project, tree: Path, image: str) -> Path:
    manifest = project.manifest_of(project.tree(tree)[0])
    return real_path(tree, next(file.path for file in manifest.files if file.original == image))


def counting(project: Project) -> dict[str, str]:
    """Image -> the verdict that counts."""
    found = {path: [c for c in project.history_of(path) if not c.undone] for path in (CILIATE, AMOEBA)}
    return {path: changes[-1].verdict for path, changes in found.items() if changes}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return exported_project(tmp_path, IMAGES)


@pytest.fixture
def trees(project: Project, tmp_path: Path) -> tuple[Path, Path]:
    """The first with one image deleted, collected as finished; then the second, with the other deleted."""
    first, second = tmp_path / "tree", tmp_path / "second"
    export_again(project, IMAGES, second)
    delete(project, first, CILIATE)
    project.collect(first, finished=all_finished)
    delete(project, second, AMOEBA)
    assert len(project.collect(second, finished=all_finished).changed) == 2
    return first, second


LATER = {CILIATE: "relabel", AMOEBA: "correct"}


def test_an_older_tree_that_did_not_change_changes_nothing_and_says_so(project: Project, trees) -> None:
    first, second = trees
    assert counting(project) == LATER
    found = project.collect(first)
    assert (found.changed, counting(project)) == ([], LATER)
    assert {v.file.original for v in found.overruled} == {CILIATE, AMOEBA}
    (remark,) = found.remarks
    assert remark.startswith("2 verdicts of this tree do not count")
    assert str(second) in remark
    assert "dupekit undo" in remark
    again = project.collect(second)
    assert (again.changed, again.overruled, again.remarks) == ([], [], [])


def test_of_an_older_tree_only_what_changed_in_it_is_recorded(project: Project, trees) -> None:
    first, _ = trees
    in_tree(project, first, AMOEBA).rename(first / "_expunge" / "it.png")
    found = project.collect(first)
    assert [(v.file.original, v.verdict) for v in found.changed] == [(AMOEBA, "expunge")]
    assert counting(project) == {CILIATE: "relabel", AMOEBA: "expunge"}
    assert [v.file.original for v in found.overruled] == [CILIATE]
    assert found.remarks[0].startswith("1 verdict of this tree does not count")


def test_a_decision_taken_back_in_the_older_tree_is_the_latest(project: Project, trees) -> None:
    first, second = trees
    put_back(project, first, CILIATE)
    assert [v.file.original for v in project.collect(first).changed] == [CILIATE]
    assert counting(project) == LATER | {CILIATE: "open"}
    assert project.status().verdicts == {"relabel": 1, "correct": 1}  # as the second tree has it
    delete(project, second, CILIATE)
    project.collect(second)
    assert counting(project) == {CILIATE: "correct", AMOEBA: "correct"}


def test_undo_lets_the_older_tree_count_again(project: Project, trees) -> None:
    first, _ = trees
    project.undo()
    assert counting(project) == {CILIATE: "correct", AMOEBA: "relabel"}
    found = project.collect(first)
    assert (found.changed, found.overruled, found.remarks) == ([], [], [])
