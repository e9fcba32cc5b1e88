"""What a project keeps of its exports: damaged, missing, or caught in the middle of an export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.ledger import exports
from dupekit.project import Project
from dupekit.review.manifest import read_manifest
from tests.support import Killed, Killer, call_back, tree_state


@pytest.fixture
def exported(trained: Project, tmp_path: Path) -> Project:
    trained.flag(threshold=3)
    trained.export(tmp_path / "first")
    return trained


def kept(project: Project) -> Path:
    """The last export's folder."""
    return project.folder_of(project.tree()[0])


def edited(file: Path, change: Callable[[dict], object]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


SPOIL: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "damaged": lambda file: file.write_text("{"),
    "of another export": lambda file: edited(file, lambda d: d.update(export="0" * 32)),
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_lost_manifest_comes_back_from_the_tree(exported: Project, tmp_path: Path, how: str) -> None:
    file = kept(exported) / "manifest.json"
    before = read_manifest(file)
    SPOIL[how](file)
    export, tree = exported.tree()
    assert exported.manifest_of(export) == before  # which only reads
    assert {d.where for d in exported.verify(quick=True).differences} == {
        file.relative_to(exported.path).as_posix()
    }
    (remark,) = exported.collect().remarks
    assert remark.startswith(f"{file} ")
    assert "restored from the tree's copy" in remark
    assert read_manifest(file) == before
    assert (file.with_name("manifest.damaged.json")).exists() == (how != "missing")
    assert exported.verify(quick=True).differences == []
    assert exported.collect(tree).remarks == []


EDITS: dict[str, tuple[Callable[[dict], object], str]] = {
    "digest": (lambda d: d["files"][0].update(digest="0" * 64), "differs from the ledger in 1 files"),
    "original": (lambda d: d["files"][0].update(original="amoeba/0001.png"), "differs from the ledger"),
    "a file less": (lambda d: d["files"].pop(), "differs from the ledger"),
    "suggested": (lambda d: d["files"][0].update(suggested="ciliate"), "differs from the ledger in 1 files"),
    "given": (lambda d: d["files"][0].update(given="diatom"), "differs from the ledger in 1 files"),
    "folders": (lambda d: d["folders"].update(amoeba="diatom"), "differs from the ledger"),
    "export": (lambda d: d.update(export="1" * 32), "manifest of another export"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_copy_that_says_otherwise_than_the_ledger_is_not_believed(exported: Project, what: str) -> None:
    change, why = EDITS[what]
    file = kept(exported) / "manifest.json"
    file.write_text("{")
    _, tree = exported.tree()
    edited(tree / ".dupekit/manifest.json", change)
    before = tree_state(exported.path / "rounds/01")
    with pytest.raises(TreeUnavailable, match=why) as caught:
        exported.collect()
    assert str(file) in caught.value.message
    assert "from a backup" in caught.value.hint
    assert tree_state(exported.path / "rounds/01") == before
    assert exported.status().verdicts == {}


def test_a_damaged_manifest_holds_up_no_export(exported: Project, tmp_path: Path) -> None:
    (kept(exported) / "manifest.json").write_text("{")
    call_back(exported)
    exported.export(tmp_path / "second")
    assert exported.collect().remarks == []
    (remark,) = (r for r in exported.collect(tmp_path / "first").remarks if "restored" in r)
    assert "manifest." in remark
    assert exported.verify(quick=True).differences == []


def test_an_export_that_fails_leaves_nothing_in_the_project(exported: Project, tmp_path: Path) -> None:
    call_back(exported)
    before = tree_state(exported.path / "rounds")
    (exported.dataset / "amoeba/wrong_diatom.png").write_bytes(b"changed behind the scan's back")
    with pytest.raises(Exception, match="changed since the last scan"):
        exported.export(tmp_path / "second")
    assert tree_state(exported.path / "rounds") == before


def test_wherever_an_export_is_cut_off_every_recorded_tree_can_be_collected(
    exported: Project, tmp_path: Path, monkeypatch
) -> None:
    """Before each of its renames in turn, and before it is recorded: those are all steps that can be seen from outside."""
    exported.collect()  # so that there is an after.txt
    recorded = exports.record
    finished = False
    for step in range(1, 30):
        killer = Killer(step)
        call_back(exported)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", killer.before(Path.rename))
            patched.setattr(Path, "replace", killer.before(Path.replace))
            patched.setattr(exports, "record", killer.before(recorded))
            patched.setattr(shutil, "rmtree", killer.unless_dead(shutil.rmtree))
            try:
                exported.export(tmp_path / f"tree{step}")
                finished = True
            except Killed:
                pass
        known = {Path(export.tree).name: export.key[:8] for export in exported.status().exports}
        assert ("tree" + str(step) in known) == finished
        for tree in known:
            found = exported.collect(tmp_path / tree)
            assert [r for r in found.remarks if not r.startswith("This tree was called back")] == []
            assert len(found.review.verdicts) == 2
        assert exported.verify(quick=True).differences == []
        if finished:
            break
    assert finished
    assert step > 4
    # The last one has cleared away what all others had left.
    assert {path.name for path in (exported.path / "rounds/01/exports").iterdir()} == set(known.values())


def test_what_is_no_export_that_was_cut_off_is_not_cleared_away(exported: Project, tmp_path: Path) -> None:
    folder = exported.path / "rounds/01/exports"
    for name in ("notes", "0123abcd", "deadbeef"):
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text("{}")
    (folder / "deadbeef" / "after.txt").write_text("")  # was collected: the ledger is an older copy
    call_back(exported)
    exported.export(tmp_path / "second")
    keys = {export.key[:8] for export in exported.status().exports}
    assert {path.name for path in folder.iterdir()} == {*keys, "notes", "deadbeef"}
