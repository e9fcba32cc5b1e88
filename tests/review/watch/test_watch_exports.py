"""The watcher where a project has several exports, and where what it watches cannot be read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.files.write import read_lines
from dupekit.project import Project
from dupekit.review.manifest import MARKER
from dupekit.review.verdicts import tree_manifest
from dupekit.review.watch.watcher import follow
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import dupes_in
from tests.review.watch.following import counts
from tests.support import call_back


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupekit.review.watch.watcher.CHECK_S", 0.2)
    monkeypatch.setattr("dupekit.review.watch.watcher.POLL_NETWORK_S", 0.2)


def test_a_tree_of_another_export_in_its_place_is_not_judged(tree, watch, tmp_path) -> None:
    data = tmp_path / "other-data"
    data.mkdir()
    manifest = plan_tree(
        dupes_in(data, {"c0/a.png": ("a", "other")}), ["c0", "other"], round_number=1, pairs=10, created=""
    )
    write_tree(manifest, data, tmp_path / "other")
    watching = watch()
    watching.until(lambda _: True)
    tree.rename(tmp_path / "old")
    (tmp_path / "other").rename(tree)
    seen = watching.until(lambda s: s.review is None)
    assert "is the tree of another export now" in seen.trouble
    assert not (tree / ".dupekit" / "after.txt").exists()
    tree.rename(tmp_path / "other")
    (tmp_path / "old").rename(tree)
    assert counts(watching.until(lambda s: s.review is not None)) == {"open": 60}


def test_a_watcher_keeps_to_its_own_export(trained: Project, tmp_path: Path) -> None:
    trained.flag(threshold=3)
    first = trained.export(tmp_path / "first")
    command = [sys.executable, "-m", "dupekit", "watch", str(first.tree), "-p", str(trained.path)]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert watcher.stdout is not None
        assert "watching" in watcher.stdout.readline()
        call_back(trained)
        second = trained.export(tmp_path / "second")
        gone = first.manifest.files[0].path
        (first.tree / gone).unlink()
        while "1 of" not in watcher.stdout.readline():
            assert watcher.poll() is None
    finally:
        watcher.terminate()
        watcher.communicate(timeout=30)
    every = sorted((file.path for file in first.manifest.files), key=str.encode)
    kept = [trained.folder_of(trained.tree(made.tree)[0]) for made in (first, second)]
    assert read_lines(kept[0] / "after.txt") == [path for path in every if path != gone]
    assert not (kept[1] / "after.txt").exists()


def test_what_cannot_be_read_is_named(tree, monkeypatch) -> None:
    (tree / "c0" / "other_09_0.png").rename(tree / "c1" / "moved.png")

    def locked(file: Path) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("dupekit.review.verdicts.digest_file", locked)

    with pytest.raises(TreeUnavailable, match=r"c1/moved\.png in the review tree cannot be read") as caught:
        next(follow(tree, tree_manifest(tree), tree / MARKER, stop=threading.Event()))
    assert "Make it readable" in caught.value.hint


def test_a_tree_that_is_not_there_says_what_to_check(tree, tmp_path) -> None:

    manifest = tree_manifest(tree)
    shutil.move(tree, tmp_path / "away")
    with pytest.raises(TreeUnavailable, match="not available as a review tree") as caught:
        next(follow(tree, manifest, tree / MARKER, stop=threading.Event()))
    assert "its share is mounted" in caught.value.hint
