"""Undo, verdict history, and the ignore list that follows from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupekit import Choices
from dupekit.errors import NothingToDo, UsageError
from dupekit.files.paths import real_path
from dupekit.ledger import Ledger, verdicts
from dupekit.project import Project
from dupekit.review.ignore_list import Ignored
from dupekit.system.stamp import user
from tests.support import tree_state

State = tuple[dict[str, int], list[object], list[Ignored]]


def state(project: Project) -> State:
    """Verdict counts, corrections and ignore list."""
    with Ledger(project.path / "ledger.db") as ledger:
        corrections = verdicts.resolved(ledger, 1).corrections
    return project.status().verdicts, corrections, project.ignores()


def delete_all(tree: Path) -> None:
    for file in tree.glob("[!.]*/*.png"):
        file.unlink()


@pytest.fixture
def reviewed(trained: Project) -> Project:
    """Two dupes exported; the one of the ciliates deleted, that of the amoebas finished; collected."""
    trained.flag(threshold=3)
    tree = trained.export().tree
    next(tree.glob("ciliate/*.png")).unlink()
    trained.collect(who="Ada", finished=["amoeba"])
    return trained


PLACES = ("as it was", "_done", "deleted", "_expunge", "_unsure", "amoeba", "new class")


@pytest.fixture
def exported(trained: Project) -> Project:
    trained.flag(threshold=1)
    trained.export()
    return trained


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_as_many_undos_as_collects_give_every_state_before(exported: Project, data: st.DataObject) -> None:
    """Every example takes all back, so that the next one begins where this one began."""
    export, tree = exported.tree()
    files = exported.manifest_of(export).files
    contents = {file.path: (exported.dataset / file.original).read_bytes() for file in files}
    assert len(files) >= 2
    states = [state(exported)]
    assert states[0][0] == {}
    places = st.lists(st.sampled_from(PLACES), min_size=len(files), max_size=len(files))
    for chosen in data.draw(st.lists(places, min_size=1, max_size=4)):
        delete_all(tree)
        for file, place in zip(files, chosen, strict=True):
            if place == "deleted":
                continue
            target = real_path(tree, file.path)
            if place != "as it was":
                target = tree / place / target.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(contents[file.path])
        if exported.collect(confirm=lambda asked: True).changed:
            states.append(state(exported))
        assert exported.collect().changed == []
    while len(states) > 1:
        assert state(exported) == states.pop()
        assert exported.undo().what == "collect"
    assert state(exported) == states.pop()
    with pytest.raises(NothingToDo, match="no step to take back"):
        exported.undo()


def test_what_was_taken_back_is_collected_again(reviewed: Project) -> None:
    before = state(reviewed)
    assert before[0] == {"correct": 1, "relabel": 1}
    step = reviewed.undo()
    assert (step.what, step.count, step.who, step.undone) == ("collect", 2, "Ada", None)
    assert state(reviewed) == ({}, [], [])
    assert {one.path for one in reviewed.flag(threshold=3).suspects} >= {"ciliate/wrong_amoeba.png"}
    assert [v.verdict for v in reviewed.collect(who="Ada").changed] == [
        "correct"
    ]  # and what was finished is not said
    reviewed.undo()
    assert len(reviewed.collect(who="Ada", finished=["amoeba"]).changed) == 2
    assert [(i.digest, i.label, i.path) for i in reviewed.ignores()] == [
        (i.digest, i.label, i.path) for i in before[2]
    ]
    assert [(s.what, s.undone is None) for s in reviewed.history()] == [
        ("collect", False), ("collect", False), ("collect", True),
    ]  # fmt: skip


def test_the_later_of_collect_and_apply_is_taken_back(reviewed: Project, dataset: Path, tmp_path) -> None:
    _, tree = reviewed.tree()
    reviewed.apply(tmp_path / "first")
    delete_all(tree)
    reviewed.collect()
    reviewed.apply(tmp_path / "second")
    files = {folder: tree_state(tmp_path / folder) for folder in ("first", "second", "data")}
    listed = tree_state(tree)
    taken = [reviewed.undo() for _ in range(4)]
    assert [(step.what, Path(step.place).name, step.count) for step in taken] == [
        ("apply", "second", 0), ("collect", "dupes", 1), ("apply", "first", 1), ("collect", "dupes", 2),
    ]  # fmt: skip
    assert {folder: tree_state(tmp_path / folder) for folder in files} == files
    assert tree_state(tree) == listed
    assert [step.what for step in reviewed.history()] == ["collect", "apply", "collect", "apply"]
    with pytest.raises(NothingToDo, match="no verdicts"):
        reviewed.apply(tmp_path / "third")


def test_the_next_round_does_not_go_on_with_an_apply_taken_back(reviewed, dataset, tmp_path) -> None:
    reviewed.apply(tmp_path / "fixed")
    assert len(reviewed.status().applications) == 1
    assert reviewed.undo().place == str(tmp_path / "fixed")
    assert reviewed.status().applications == []
    reviewed.next_round(drop=True)
    assert reviewed.dataset == dataset
    assert [reviewed.undo().what, reviewed.undo().what] == ["next", "collect"]
    assert state(reviewed) == ({}, [], [])
    with pytest.raises(NothingToDo, match="no step to take back"):
        reviewed.undo()


def test_a_late_collect_of_a_closed_round_is_taken_back_before_what_the_next_did(
    reviewed: Project, tmp_path: Path, fast
) -> None:
    _, tree = reviewed.tree()
    reviewed.apply(tmp_path / "fixed")
    reviewed.next_round()
    listed = reviewed.ignores()
    file = next(tree.glob("amoeba/*.png"))
    file.unlink()
    late = reviewed.collect(tree, who="Grace")
    (remark,) = late.remarks
    assert remark.startswith("Round 1 has ended")
    assert len(reviewed.ignores()) == len(listed) + 1
    assert not reviewed.train(Choices(pairs=1, **fast)).failed
    step = reviewed.undo()
    assert (step.what, step.round, step.who, step.count) == ("collect", 1, "Grace", 1)
    assert reviewed.ignores() == listed


def test_the_last_step_is_taken_back_whatever_its_round(reviewed, dataset, tmp_path, fast) -> None:
    _, first = reviewed.tree()
    reviewed.next_round(dataset, drop=True)
    assert not reviewed.train(Choices(pairs=3, **fast)).failed
    reviewed.flag(threshold=3)
    reviewed.export(tmp_path / "second")
    delete_all(tmp_path / "second")
    reviewed.collect(confirm=lambda asked: True)
    delete_all(first)
    reviewed.collect(first)
    reviewed.apply(tmp_path / "fixed twice")
    taken = [reviewed.undo() for _ in range(3)]
    assert [(step.what, step.round) for step in taken] == [("apply", 2), ("collect", 1), ("collect", 2)]


def test_collect_between_a_take_back_and_an_apply(reviewed: Project, tmp_path: Path) -> None:
    """An apply after an undone collect is later than the collect that stands."""
    _, tree = reviewed.tree()
    delete_all(tree)
    reviewed.collect()
    reviewed.undo()
    reviewed.apply(tmp_path / "fixed")
    assert reviewed.undo().what == "apply"
    assert reviewed.undo().who == "Ada"


def test_edits_of_the_list_by_hand_stand(reviewed: Project) -> None:
    diatom, ciliate = "amoeba/wrong_diatom.png", "ciliate/wrong_amoeba.png"

    def listed() -> set[str]:
        return {entry.path for entry in reviewed.ignores()}

    _, tree = reviewed.tree()
    assert listed() == {ciliate}
    assert reviewed.unignore([ciliate, "amoeba/0003.png"]) == 1  # ... what collect had put there
    assert reviewed.collect().changed == []
    assert listed() == set()
    delete_all(tree)
    reviewed.collect()
    assert listed() == {diatom}  # the verdict on the other is no newer than its removal
    reviewed.ignore(["amoeba/0005.png"])
    reviewed.undo()
    assert listed() == {"amoeba/0005.png"}
    reviewed.collect()
    assert listed() == {"amoeba/0005.png", diatom}
    assert reviewed.unignore(["amoeba/0005.png"]) == 1
    reviewed.undo()
    reviewed.undo()
    assert listed() == set()
    reviewed.collect()  # decided anew, after the removal
    assert listed() == {diatom, ciliate}


def test_what_a_later_collect_took_from_the_list_comes_back(reviewed: Project, tmp_path: Path) -> None:
    before = state(reviewed)
    export, tree = reviewed.tree()
    for file in reviewed.manifest_of(export).files:
        shutil.copy(real_path(reviewed.dataset, file.original), real_path(tree, file.path))
    assert [v.verdict for v in reviewed.collect(finished=["ciliate"]).changed] == ["relabel"]
    assert reviewed.ignores() == []
    reviewed.undo()
    assert state(reviewed) == before


def test_the_history_of_an_image_names_who_when_from_and_to(reviewed: Project) -> None:
    _, tree = reviewed.tree()
    delete_all(tree)
    reviewed.collect(who="Grace")
    reviewed.undo()
    first, second = reviewed.history_of("amoeba/wrong_diatom.png")
    assert (first.who, first.previous, first.verdict, first.label) == ("Ada", None, "relabel", "diatom")
    assert (second.who, second.previous, second.verdict) == ("Grace", "relabel diatom", "correct")
    assert first.undone is None
    assert second.undone is not None
    assert reviewed.history_of("amoeba/0003.png") == []
    with pytest.raises(UsageError, match="never had an image amoeba/else"):
        reviewed.history_of("amoeba/else.png")


def test_the_steps_say_who_and_where(reviewed: Project, tmp_path: Path) -> None:
    _, tree = reviewed.tree()
    shutil.copytree(tree, tmp_path / "came back")
    next((tmp_path / "came back").glob("amoeba/*.png")).unlink()
    reviewed.collect(tmp_path / "came back", who="Grace")
    reviewed.apply(tmp_path / "fixed", who="Ada")
    reviewed.undo()
    reviewed.apply(tmp_path / "again")
    assert [(step.what, step.who, step.place) for step in reviewed.history()[:3]] == [
        ("collect", "Ada", str(tree)),
        ("collect", "Grace", str(tmp_path / "came back")),
        ("apply", "Ada", str(tmp_path / "fixed")),
    ]
    assert reviewed.history()[3].who == user()
    assert "@" in user()
