"""A project's folder is moved, copied, or mounted elsewhere."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.project import Project
from tests.support import dupekit


def flagged_and_exported(project: Project) -> Path:
    project.flag(threshold=1)
    return project.export().tree


def test_the_tree_goes_with_its_project(trained: Project, tmp_path: Path) -> None:
    tree = flagged_and_exported(trained)
    moved = tmp_path / "else where" / "moved"
    moved.parent.mkdir()
    trained.path.rename(moved)
    there = moved / tree.relative_to(trained.path)
    assert f"dupekit collect '{there}'" in dupekit("status", "-p", moved).stdout
    for file in there.glob("*/*.png"):
        file.unlink()
    dupekit("collect", "--yes", "--finished", "all", "-p", moved)
    assert str(there) in dupekit("history", "-p", moved).stdout
    assert not Project(moved).status().out[0].open
    assert Project(moved).verify().differences == []


def test_a_copy_has_its_own_tree(trained: Project, tmp_path: Path) -> None:
    tree = flagged_and_exported(trained)
    copy = tmp_path / "copy"
    shutil.copytree(trained.path, copy)
    shutil.rmtree(tree / "ciliate")
    dupekit("collect", "-p", copy)
    (out,) = Project(copy).status().out
    assert (out.decided, out.place) == (0, str(copy / tree.relative_to(trained.path)))


def test_a_tree_elsewhere_stays_where_it_is(trained: Project, tmp_path: Path) -> None:
    trained.flag(threshold=1)
    tree = trained.export(tmp_path / "tree").tree
    moved = tmp_path / "moved"
    trained.path.rename(moved)
    assert f"dupekit collect {tree}" in dupekit("status", "-p", moved).stdout


def test_what_is_recorded_can_be_read(trained: Project) -> None:
    flagged_and_exported(trained)
    with contextlib.closing(sqlite3.connect(trained.path / "ledger.db")) as db:
        assert db.execute("SELECT tree FROM exports").fetchall() == [("rounds/01/dupes",)]


@pytest.fixture
def beside(dataset: Path, fast: dict[str, str], tmp_path: Path) -> Project:
    """A project beside its dataset, which names it relative to itself; with a round."""
    place = tmp_path / "here"
    place.mkdir()
    dataset.rename(place / "data")
    project = Project.create(place / "data", place / "project")
    settings = project.path / "dupekit.toml"
    settings.write_text(re.sub("(?m)^dataset = .*", 'dataset = "../data"', settings.read_text()))
    project = Project(project.path)
    project.scan()
    project.train(Choices(pairs=2, **fast))
    return project


def elsewhere(project: Project) -> Project:
    """The same, with its dataset, where another computer has it."""
    place = project.path.parent
    shutil.rmtree(project.path / "cache")
    return Project(place.rename(place.with_name("there")) / project.path.name)


def correct(project: Project) -> None:
    """Reviews it, and writes a corrected dataset beside the original."""
    project.flag(threshold=1)
    export = project.export()
    for file in export.tree.glob("ciliate/*.png"):
        file.unlink()
    project.collect(finished=["amoeba", "diatom"])
    project.apply(project.path.parent / "corrected")


def test_a_round_that_was_begun_elsewhere_goes_on(beside: Project) -> None:
    moved = elsewhere(beside)
    assert moved.train(Choices(pairs=3)).failed == []
    correct(moved)
    assert moved.verify().differences == []
    moved.next_round()
    assert 'dataset = "../corrected"' in (moved.path / "dupekit.toml").read_text()
    again = Project(moved.path.parent.rename(moved.path.parent.with_name("third")) / moved.path.name)
    assert again.scan().read == 0
    again.undo()
    assert 'dataset = "../data"' in (again.path / "dupekit.toml").read_text()
    assert again.verify().differences == []


def test_the_corrected_dataset_goes_with_the_project(beside: Project) -> None:
    correct(beside)
    moved = elsewhere(beside)
    assert str(moved.path.parent / "corrected") in dupekit("status", "-p", moved.path).stdout
    assert str(moved.path.parent / "corrected") in dupekit("history", "-p", moved.path).stdout
    assert moved.verify().checked["corrected images"]
    moved.next_round()
    again = Project(moved.path.parent.rename(moved.path.parent.with_name("third")) / moved.path.name)
    assert again.verify().checked["corrections"]


def test_it_is_evaluated_elsewhere(beside: Project) -> None:
    correct(beside)
    moved = elsewhere(beside)
    assert moved.evaluate().original == str(moved.path.parent / "data")
