"""A verdict is on a content under its given label: what the dataset became since the round decides what `apply` does."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit import Choices
from dupekit.correct.resolve import Decision, Held, resolve
from dupekit.project import Project
from tests.support import CLASSES, tree_state

AMOEBA, CILIATE = "amoeba/wrong_diatom.png", "ciliate/wrong_amoeba.png"


@pytest.fixture
def reviewed(trained: Project) -> Project:
    """One image to be relabelled to diatom, one to be expunged."""
    trained.flag(threshold=3)
    tree = trained.export().tree
    next(tree.glob("ciliate/*.png")).rename(tree / "_expunge" / "it.png")
    trained.collect(finished=CLASSES)
    return trained


def test_apply_says_how_many_are_open(trained: Project, tmp_path: Path) -> None:
    trained.flag(threshold=3)
    tree = trained.export().tree
    next(tree.glob("ciliate/*.png")).rename(tree / "_expunge" / "it.png")
    trained.collect()
    said = run(trained, "apply", tmp_path / "fixed").stdout
    assert "1 image is still open, and keeps the label." in " ".join(said.split())
    # `next` would refuse.
    assert said.endswith(f"collect it when it is done. Next: dupekit collect {tree}\n")
    assert json.loads(run(trained, "apply", tmp_path / "again", "--dry-run", "--json").stdout)["open"] == 1


def move(root: Path, path: str, to: str) -> None:
    (root / to).parent.mkdir(exist_ok=True)
    (root / path).rename(root / to)


def edit(root: Path, path: str) -> None:
    with (root / path).open("ab") as file:
        file.write(b"x")


def swap(root: Path, one: str, other: str) -> None:
    move(root, one, "amoeba/between.png")
    move(root, other, one)
    move(root, "amoeba/between.png", other)


Change = Callable[[Path], object]
APPLIED: dict[str, tuple[Change, set[tuple[str, str]]]] = {
    "renamed": (lambda d: move(d, AMOEBA, "amoeba/new name.png"), {("amoeba/new name.png", "diatom"), (CILIATE, None)}),
    "in a sub-folder": (lambda d: move(d, CILIATE, "ciliate/sub/it.png"), {(AMOEBA, "diatom"), ("ciliate/sub/it.png", None)}),
    "names swapped": (lambda d: swap(d, AMOEBA, "amoeba/0001.png"), {("amoeba/0001.png", "diatom"), (CILIATE, None)}),
    "a copy": (
        lambda d: shutil.copy(d / AMOEBA, d / "amoeba/copy.png"),
        {(AMOEBA, "diatom"), ("amoeba/copy.png", "diatom"), (CILIATE, None)},
    ),
    "a copy in another class": (
        lambda d: shutil.copy(d / AMOEBA, d / "ciliate/copy.png"), {(AMOEBA, "diatom"), (CILIATE, None)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", APPLIED)
def test_a_verdict_follows_its_content_within_the_class(reviewed: Project, tmp_path: Path, name: str) -> None:
    change, expected = APPLIED[name]
    change(reviewed.dataset)
    reviewed.scan()
    before = tree_state(reviewed.dataset)
    done = reviewed.apply(tmp_path / "fixed")
    assert {(c.path, c.new_label) for c in done.corrections} == expected
    assert {c.decided_on for c in done.corrections} == {AMOEBA, CILIATE}
    assert done.unapplied == reviewed.status().unapplied == reviewed.verify().unapplied == []
    assert not (reviewed.path / "rounds/01/unapplied.csv").exists()
    in_diatom = {content for content, _ in tree_state(tmp_path / "fixed/diatom").values()}
    contents = {before[c.path][0]: c.new_label for c in done.corrections}
    assert {content for content, label in contents.items() if label} <= in_diatom
    of_all = [content for content, _ in tree_state(tmp_path / "fixed").values()]
    assert [of_all.count(content) for content, label in contents.items() if not label] == [0]
    assert reviewed.verify().differences == []
    reviewed.next_round()
    assert reviewed.verify().differences == []


UNAPPLIED: dict[str, tuple[Change, str, str, bool]] = {
    "gone": (lambda d: (d / AMOEBA).unlink(), AMOEBA, "gone", True),
    "expunged by hand": (lambda d: (d / CILIATE).unlink(), CILIATE, "done by hand", False),
    "edited": (lambda d: edit(d, AMOEBA), AMOEBA, "content changed", True),
    "moved to another class": (
        lambda d: move(d, CILIATE, "diatom/it.png"), CILIATE, "label changed by hand to diatom (diatom/it.png)", True,
    ),
    "moved where it was to go": (
        lambda d: move(d, AMOEBA, "diatom/it.png"), AMOEBA, "done by hand (diatom/it.png)", False,
    ),
    "moved to a new class": (
        lambda d: move(d, AMOEBA, "new/it.png"), AMOEBA, "label changed by hand to new (new/it.png)", True,
    ),
    "unlabelled twin elsewhere": (
        lambda d: (shutil.copy(d / AMOEBA, d / "ciliate/copy.png"), (d / AMOEBA).unlink()),
        AMOEBA, "label changed by hand to ciliate (ciliate/copy.png)", True,
    ),
}  # fmt: skip


def run(project: Project, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dupekit", *map(str, words), "-p", str(project.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", UNAPPLIED)
def test_what_is_not_applied_is_said_everywhere(reviewed: Project, tmp_path: Path, name: str) -> None:
    change, path, why, pending = UNAPPLIED[name]
    change(reviewed.dataset)
    reviewed.scan()
    done = reviewed.apply(tmp_path / "fixed")
    assert [(one.path, str(one), one.pending) for one in done.unapplied] == [(path, why, pending)]
    assert {c.path for c in done.corrections} == {AMOEBA, CILIATE} - {path}
    assert reviewed.status().unapplied == reviewed.verify(quick=True).unapplied == done.unapplied
    assert reviewed.verify().differences == []
    with (reviewed.path / "rounds/01/unapplied.csv").open(newline="") as file:
        ((row),) = csv.DictReader(file)
    assert (row["path"], row["action"]) == (path, "relabel" if path == AMOEBA else "expunge")

    reason = done.unapplied[0].reason
    counted = f"1 decision is not applied (1 {reason})"
    again = run(reviewed, "apply", tmp_path / "again")
    assert f"{path}\t{'diatom' if path == AMOEBA else '(expunge)'}\t{why}\n" in again.stdout
    assert (counted in again.stderr) == pending
    assert (counted in run(reviewed, "status").stdout) == pending
    said = run(reviewed, "verify", "--quick").stdout
    assert (counted in said) == pending
    assert ("All is as it should be" in said) != pending
    told = run(reviewed, "apply", tmp_path / "none", "--dry-run", "--json")
    assert json.loads(told.stdout)["unapplied"] == [
        {"path": path, "old_label": path.split("/")[0], "new_label": "diatom" if path == AMOEBA else None,
         "reason": reason, "now_at": done.unapplied[0].now_at}
    ]  # fmt: skip
    assert (counted in told.stderr) == pending


def test_a_closed_round_has_nothing_pending(reviewed: Project, tmp_path: Path) -> None:
    (reviewed.dataset / AMOEBA).unlink()
    reviewed.scan()
    reviewed.apply(tmp_path / "fixed")
    reviewed.next_round()
    assert reviewed.status().unapplied == reviewed.verify().unapplied == []


def test_what_could_not_be_read_is_not_called_changed(reviewed: Project, tmp_path: Path, monkeypatch) -> None:
    real = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == Path(AMOEBA).name:
            raise OSError(5, "Input/output error")
        return real(path)

    (reviewed.dataset / AMOEBA).touch()
    monkeypatch.setattr(Path, "read_bytes", fail)
    reviewed.scan()
    done = reviewed.apply(tmp_path / "fixed")
    assert [(one.path, one.reason) for one in done.unapplied] == [(AMOEBA, "unreadable")]


@pytest.fixture
def twins(project: Project, fast: dict[str, object]) -> tuple[Project, Path]:
    """Two flagged images of equal content and given label."""
    shutil.copy(project.dataset / AMOEBA, project.dataset / "amoeba/twin.png")
    project.scan()
    assert not project.train(Choices(pairs=3, **fast)).failed
    flagged = project.flag(threshold=3)
    assert {AMOEBA, "amoeba/twin.png"} <= {dupe.path for dupe in flagged.suspects}
    return project, project.export().tree


def test_equal_contents_each_keep_their_own_verdict(twins, tmp_path: Path) -> None:
    project, tree = twins
    next(tree.glob("amoeba/*twin.png")).unlink()
    project.collect(finished=CLASSES)
    move(project.dataset, AMOEBA, "amoeba/renamed.png")
    project.scan()
    done = project.apply(tmp_path / "fixed")
    found = {c.path: c.decided_on for c in done.corrections}
    assert found == {"amoeba/renamed.png": AMOEBA, CILIATE: CILIATE}  # the twin was said to be right
    assert done.unapplied == []


def test_where_decisions_on_equal_contents_disagree_none_is_guessed(twins, tmp_path: Path) -> None:
    project, tree = twins
    file = next(tree.glob("amoeba/*twin.png"))
    file.rename(tree / "_expunge" / file.name)
    project.collect(finished=CLASSES)
    move(project.dataset, AMOEBA, "amoeba/one.png")
    move(project.dataset, "amoeba/twin.png", "amoeba/other.png")
    project.scan()
    done = project.apply(tmp_path / "fixed")
    assert {c.path for c in done.corrections} == {CILIATE}
    assert [(one.path, str(one)) for one in done.unapplied] == [
        ("amoeba/twin.png", "decisions disagree (amoeba/one.png)"),
        (AMOEBA, "decisions disagree (amoeba/one.png)"),
    ]


def test_a_twin_in_another_class_all_along_is_not_taken_for_one_moved_by_hand(
    project: Project, fast, tmp_path: Path
) -> None:
    shutil.copy(project.dataset / AMOEBA, project.dataset / "ciliate/twin.png")
    project.scan()
    assert not project.train(Choices(pairs=3, **fast)).failed
    project.flag(threshold=2)
    project.export()
    project.collect(finished=CLASSES, confirm=lambda _: True)
    (project.dataset / AMOEBA).unlink()
    project.scan()
    assert [(one.path, str(one)) for one in project.apply(tmp_path / "fixed").unapplied] == [(AMOEBA, "gone")]


LABELS, CONTENTS = "abc", "xyz"


@given(data=st.data())
def test_no_decision_is_lost_and_no_file_gets_one_that_is_not_on_its_content_and_label(
    data: st.DataObject,
) -> None:
    """Whatever became of the dataset: images of the round changed, moved or gone, others there."""
    of_round = [
        (number, data.draw(st.sampled_from(LABELS)), data.draw(st.sampled_from(CONTENTS)))
        for number in range(data.draw(st.integers(1, 6)))
    ]
    decisions = [
        Decision(
            number,
            f"{label}/{number}",
            label,
            data.draw(st.sampled_from([*LABELS, None])),
            9,
            1.0,
            "",
            content,
            "gone",
        )
        for number, label, content in of_round
        if data.draw(st.booleans())
    ]
    held = [
        Held(number, f"{label}/{number}", label, now, now == content)
        for number, label, content in of_round
        if (now := data.draw(st.sampled_from([*CONTENTS, "other", None]))) is not None
    ]
    held += [
        Held(number, f"{label}/{number}", label, data.draw(st.sampled_from(CONTENTS)), False)
        for number in range(100, 100 + data.draw(st.integers(0, 4)))
        for label in [data.draw(st.sampled_from(LABELS))]
    ]
    found = resolve(decisions, held)
    corrections, unapplied = found.corrections, found.unapplied
    files = {file.image: file for file in held}
    assert len({c.image for c in corrections}) == len(corrections)
    for c in corrections:
        (on,) = [decision for decision in decisions if decision.path == c.decided_on]
        assert (
            (files[c.image].digest, files[c.image].label) == (on.digest, on.label) == (c.digest, c.old_label)
        )
        assert c.new_label == on.new_label != c.old_label
    own = {d.image for d in decisions if d.image in files and files[d.image].digest == d.digest}
    said = {one.path for one in unapplied}
    assert len(said) == len(unapplied)
    for decision in decisions:
        made = {
            c.image for c in corrections
            if (c.digest, c.old_label, c.new_label) == (decision.digest, decision.label, decision.new_label)
        }  # fmt: skip
        if decision.new_label == decision.label:
            assert decision.path not in said
            assert decision.image not in own or decision.image not in {c.image for c in corrections}
        elif decision.image in own:
            assert decision.image in made
            assert decision.path not in said
        else:
            # A file of its own, not one that has its own decision.
            assert bool(made - own) != (decision.path in said)
