"""`withdraw`: a tree is called back, by whatever names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dupekit.errors import NothingToDo, TreeUnavailable, UsageError
from dupekit.ledger import Ledger, rounds
from dupekit.project import Project
from tests.reviewed import export_again, exported_project
from tests.support import dupekit, parsed

IMAGES = {"a/1.png": "b", "a/2.png": "b", "b/3.png": "a", "b/4.png": "a"}


@pytest.fixture
def out(tmp_path: Path) -> Project:
    """A project of which tmp_path/tree is out, with four images; one is decided."""
    project = exported_project(tmp_path, IMAGES)
    next((tmp_path / "tree/a").glob("*1.png")).unlink()
    project.collect(tmp_path / "tree")
    return project


def test_the_only_one_that_is_out(out: Project, tmp_path: Path) -> None:
    found = out.withdraw()
    assert (found.round, found.tree, found.open, found.decided) == (1, str(tmp_path / "tree"), 3, 1)
    assert out.status().out == []
    assert out.status().verdicts == {"correct": 1}
    with pytest.raises(NothingToDo, match="No tree of round 1 has an image open"):
        out.withdraw()


def test_what_was_called_back_is_no_default(out: Project, tmp_path: Path) -> None:
    out.collect(finished=["a", "b"])
    export_again(out, IMAGES, tmp_path / "other")
    out.withdraw(tmp_path / "other")
    assert out.tree().path == tmp_path / "tree"
    out.withdraw(tmp_path / "tree")
    assert out.tree().path == tmp_path / "other"  # it may still be collected


def by_folder(project: Project, tree: Path) -> Path:
    return tree


def by_its_own_manifest(project: Project, tree: Path) -> Path:
    return tree / ".dupekit/manifest.json"


def by_the_projects_manifest(project: Project, tree: Path) -> Path:
    return project.folder_of(project.tree(tree).export) / "manifest.json"


def by_where_it_was(project: Project, tree: Path) -> Path:
    shutil.rmtree(tree)
    return tree


def by_a_copy(project: Project, tree: Path) -> Path:
    return shutil.copytree(tree, tree.with_name("copy"))


def by_where_it_was_collected(project: Project, tree: Path) -> Path:
    copy = shutil.copytree(tree, tree.with_name("copy"))
    next(copy.glob("a/*2.png")).unlink()
    project.collect(copy)
    shutil.rmtree(copy)
    return copy


@pytest.mark.parametrize(
    "name",
    [
        by_folder,
        by_its_own_manifest,
        by_the_projects_manifest,
        by_where_it_was,
        by_a_copy,
        by_where_it_was_collected,
    ],
)
def test_one_of_several(out: Project, tmp_path: Path, name) -> None:
    others = {"a/5.png": "b", "b/6.png": "a"}
    dataset = tmp_path / "data"
    for other, like in zip(others, IMAGES, strict=False):
        (dataset / other).write_bytes((dataset / like).read_bytes() + b"another")
    out.scan()
    export_again(out, others, tmp_path / "other")
    with pytest.raises(UsageError, match="2 trees are out") as caught:
        out.withdraw()
    assert f"{tmp_path / 'tree'} (3 of 4 open)" in caught.value.message
    assert f"{tmp_path / 'other'} (2 of 2 open)" in caught.value.message
    named = name(out, tmp_path / "tree")
    out.withdraw(named)
    assert [one.place for one in out.status().out] == [str(tmp_path / "other")]
    if named.exists():
        with pytest.raises(NothingToDo, match="was called back on"):
            out.withdraw(named)


def test_what_was_done_in_it_can_still_be_collected(out: Project, tmp_path: Path) -> None:
    out.withdraw()
    next((tmp_path / "tree/a").glob("*2.png")).unlink()
    assert [v.file.original for v in out.collect(tmp_path / "tree").changed] == ["a/2.png"]
    assert out.status().out == []


def test_a_folder_that_is_none_is_refused(out: Project, tmp_path: Path) -> None:
    for place in ("data", "nowhere"):
        with pytest.raises(TreeUnavailable, match=f"{place} is no review tree of this project"):
            out.withdraw(tmp_path / place)
    other = exported_project(tmp_path / "else", IMAGES)
    with pytest.raises(TreeUnavailable, match="no review tree of this project"):
        out.withdraw(other.tree().path)


def test_a_tree_of_a_round_that_ended_is_not_waited_for(out: Project, tmp_path: Path) -> None:
    out.next_round(drop=True)
    with pytest.raises(NothingToDo, match="Round 1 is closed"):
        out.withdraw(tmp_path / "tree")
    with Ledger(out.path / "ledger.db") as ledger:
        rounds.begin(ledger, number=2, dataset=str(out.dataset), pairs=1, images=4, plan="{}")
    with pytest.raises(NothingToDo, match="is of round 1, which has ended"):
        out.withdraw(tmp_path / "tree")


def test_the_command_says_how_many_and_what_that_means(out: Project, tmp_path: Path) -> None:
    said = dupekit("withdraw", "-p", out.path).stdout
    assert f"Called back {tmp_path / 'tree'}: 3 open images may go out again" in said
    assert "1 decision of it stays" in said
    export_again(out, IMAGES, tmp_path / "again")
    assert parsed("withdraw", tmp_path / "again", "-p", out.path)["open"] == 3


def test_an_image_in_two_trees_is_open_in_neither_once_it_is_decided(out: Project, tmp_path: Path) -> None:
    export_again(out, IMAGES, tmp_path / "again")

    def still_open() -> list[int]:
        return [one.open for one in out.status().out]

    assert still_open() == [3, 3]
    next((tmp_path / "again/a").glob("*2.png")).unlink()
    out.collect(tmp_path / "again")
    assert still_open() == [2, 2]
    out.undo()
    assert still_open() == [3, 3]
    out.withdraw(tmp_path / "again")
    assert still_open() == [3]


@pytest.mark.parametrize("named", [True, False])
def test_of_a_lost_tree_collect_says_how_to_call_it_back(out: Project, tmp_path: Path, named: bool) -> None:
    shutil.rmtree(tmp_path / "tree")
    with pytest.raises(
        TreeUnavailable, match="tree is not available as a review tree: it does not exist"
    ) as lost:
        out.collect(tmp_path / "tree" if named else None)
    assert "`dupekit withdraw` calls it back" in (lost.value.hint or "")
    assert out.withdraw().open == 3


def test_a_tree_that_was_collected_elsewhere_is_read_there_again(out: Project, tmp_path: Path) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    shutil.copytree(tree, back)
    (back / "b").rename(back / "_done" / "b")
    assert len(out.collect(back).changed) == 2
    again = out.collect()  # not the copy that stayed, by which all of it would be open again
    assert (again.tree, again.changed) == (back, [])
    shutil.rmtree(back)
    assert out.tree().path == tree
