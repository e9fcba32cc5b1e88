"""Two exports of the same images: of each image the latest decision counts, and an old tree decides nothing anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dupekit.files.paths import real_path
from dupekit.project import Project
from tests.support import call_back

CILIATE, AMOEBA = "ciliate/wrong_amoeba.png", "amoeba/wrong_diatom.png"


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
def trees(trained: Project, tmp_path: Path) -> tuple[Path, Path]:
    """The first with one image deleted, collected; then the second, with the other deleted."""
    trained.flag(threshold=3)
    first = trained.export(tmp_path / "first").tree
    call_back(trained)
    second = trained.export(tmp_path / "second").tree
    delete(trained, first, CILIATE)
    trained.collect(first)
    delete(trained, second, AMOEBA)
    assert len(trained.collect(second).changed) == 2
    return first, second


LATER = {CILIATE: "relabel", AMOEBA: "correct"}


def test_an_older_tree_that_did_not_change_changes_nothing_and_says_so(trained: Project, trees) -> None:
    first, second = trees
    assert counting(trained) == LATER
    found = trained.collect(first)
    assert (found.changed, counting(trained)) == ([], LATER)
    assert {v.file.original for v in found.overruled} == {CILIATE, AMOEBA}
    (remark,) = found.remarks
    assert remark.startswith("2 verdicts of this tree do not count")
    assert str(second) in remark
    assert "dupekit undo" in remark
    again = trained.collect(second)
    assert (again.changed, again.overruled, again.remarks) == ([], [], [])


def test_of_an_older_tree_only_what_changed_in_it_is_recorded(trained: Project, trees) -> None:
    first, _ = trees
    in_tree(trained, first, AMOEBA).rename(first / "_expunge" / "it.png")
    found = trained.collect(first)
    assert [(v.file.original, v.verdict) for v in found.changed] == [(AMOEBA, "expunge")]
    assert counting(trained) == {CILIATE: "relabel", AMOEBA: "expunge"}
    assert [v.file.original for v in found.overruled] == [CILIATE]
    assert found.remarks[0].startswith("1 verdict of this tree does not count")


def test_a_decision_taken_back_in_the_older_tree_is_the_latest(trained: Project, trees) -> None:
    first, second = trees
    put_back(trained, first, CILIATE)
    assert [v.file.original for v in trained.collect(first).changed] == [CILIATE]
    assert counting(trained) == LATER  # as the second tree has it
    delete(trained, second, CILIATE)
    trained.collect(second)
    assert counting(trained) == {CILIATE: "correct", AMOEBA: "correct"}


def test_undo_lets_the_older_tree_count_again(trained: Project, trees) -> None:
    first, _ = trees
    trained.undo()
    assert counting(trained) == {CILIATE: "correct", AMOEBA: "relabel"}
    found = trained.collect(first)
    assert (found.changed, found.overruled, found.remarks) == ([], [], [])
