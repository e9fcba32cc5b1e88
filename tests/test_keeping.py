"""The project's manifests: damaged, missing, or caught in the middle of an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.project import Project
from dupekit.review.manifest import read_manifest
from tests.support import tree_state


@pytest.fixture
def exported(trained: Project, tmp_path: Path) -> Project:
    trained.flag(threshold=3)
    trained.export(tmp_path / "first")
    return trained


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
    file = exported.path / "rounds/01/manifest.json"
    before = read_manifest(file)
    SPOIL[how](file)
    export, tree = exported.tree()
    assert exported.manifest_of(export) == before  # which only reads
    assert {d.where for d in exported.verify(quick=True).differences} == {"rounds/01/manifest.json"}
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
    file = exported.path / "rounds/01/manifest.json"
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
    (exported.path / "rounds/01/manifest.json").write_text("{")
    exported.export(tmp_path / "second")
    assert exported.collect().remarks == []
    (remark,) = (r for r in exported.collect(tmp_path / "first").remarks if "restored" in r)
    assert "manifest." in remark
    assert exported.verify(quick=True).differences == []


def test_an_export_that_fails_leaves_nothing_in_the_project(exported: Project, tmp_path: Path) -> None:
    before = tree_state(exported.path / "rounds")
    (exported.dataset / "amoeba/wrong_diatom.png").write_bytes(b"changed behind the scan's back")
    with pytest.raises(Exception, match="changed since the last scan"):
        exported.export(tmp_path / "second")
    assert tree_state(exported.path / "rounds") == before


class _Killed(BaseException):
    pass


def test_wherever_an_export_is_cut_off_every_recorded_tree_can_be_collected(
    exported: Project, tmp_path: Path, monkeypatch
) -> None:
    """Before each of its renames in turn: those are all steps that can be seen from outside."""
    exported.collect()  # so that there is an after.txt
    known = {"first": 1}
    finished = False
    for step in range(1, 30):
        name = f"tree{step}"
        left = step

        def countdown(real: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
            def rename(self: Path, target: Path) -> Path:
                nonlocal left
                left -= 1
                if not left:
                    raise _Killed
                return real(self, target)

            return rename

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", countdown(Path.rename))
            patched.setattr(Path, "replace", countdown(Path.replace))
            try:
                exported.export(tmp_path / name)
                finished = True
            except _Killed:
                pass
        recorded = {Path(export.tree).name for export in exported.status().exports}
        for tree in sorted(recorded, reverse=True):
            found = exported.collect(tmp_path / tree)
            assert not [r for r in found.remarks if "restored" in r]
            assert len(found.review.verdicts) == 2
            known[tree] = 1
        assert exported.verify(quick=True).differences == []
        if finished:
            break
    assert finished
    assert len(known) >= 5  # so it was cut off also after it had been recorded
