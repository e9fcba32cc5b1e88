"""What is mounted over a tree or its folders, and other programs that hold what a watcher needs."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.review.listing import list_tree
from dupekit.review.manifest import MARKER
from dupekit.review.verdicts import read_tree, tree_manifest
from tests.reviewed import exported_project
from tests.support import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.parametrize("folder", ["c1", MARKER, "_unsure"])
def test_a_file_system_mounted_over_a_folder_is_not_all_deleted(tree, monkeypatch, folder: str) -> None:
    """An empty one, whose device is another: as of a share of its own for a class, mounted in the wrong place."""
    manifest, real = tree_manifest(tree), os.stat
    for file in (tree / "c1").iterdir():
        file.unlink()

    def stat(path, **named):
        found = real(path, **named)
        if os.fspath(path) != str(tree / folder):
            return found
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]))

    assert len(list_tree(tree).files) == 40  # by hand, it means what it means
    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(TreeUnavailable, match=f"{folder} in the review tree lies on another file system"):
        read_tree(tree, manifest)


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_though_another_program_has_locked_the_ledger(tmp_path: Path, number: int) -> None:
    project = exported_project(tmp_path, {"a/1.bmp": "b", "b/2.bmp": "a"})
    ledger = project.path / "ledger.db"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        command = [sys.executable, "-m", "dupekit", "watch", "-p", str(project.path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            fds = Path(f"/proc/{process.pid}/fd")
            until(lambda: any(os.path.realpath(fd) == str(ledger) for fd in fds.iterdir()))
            process.send_signal(number)
            assert process.wait(5) == -number


def test_of_two_watchers_of_a_tree_that_was_replaced_the_first_keeps_it(tree, watch, tmp_path) -> None:
    """Each has a lock of its own, in the tree's marker: the one that is not there any more is worth nothing."""
    shutil.copytree(tree, tmp_path / "copy")
    (tmp_path / "kept").mkdir()
    first = watch(tmp_path / "kept", poll_s=0.5)
    first.until(lambda snapshot: snapshot.review is not None)
    tree.rename(tmp_path / "away")
    first.until(lambda snapshot: snapshot.review is None)
    (tmp_path / "copy").rename(tree)
    # It holds the lock of the tree that lies there now.
    first.until(lambda snapshot: snapshot.review is not None and snapshot.kept)
    second = watch(tmp_path / "kept", poll_s=0.5)
    assert second.until(lambda snapshot: snapshot.review is not None).beside
    first.end()


def test_the_watcher_that_comes_second_to_a_replaced_tree_keeps_nothing(tree, watch, tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    shutil.copytree(tree, tmp_path / "copy")
    first = watch(tmp_path / "kept", poll_s=0.5)
    first.until(lambda snapshot: snapshot.review is not None)
    tree.rename(tmp_path / "away")
    first.until(lambda snapshot: snapshot.review is None)
    other = watch(tmp_path / "kept", at=tmp_path / "copy", poll_s=0.5)
    other.until(lambda snapshot: snapshot.review is not None)
    (tmp_path / "copy").rename(tree)
    assert first.until(lambda snapshot: snapshot.review is not None).beside
    other.end()
