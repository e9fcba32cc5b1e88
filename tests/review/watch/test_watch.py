"""The watcher on real files. Only files and what it yields are waited for, never a length of time."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.files.write import digest_file, read_lines
from dupekit.review.listing import Listing, list_tree
from dupekit.review.manifest import MARKER
from dupekit.review.marker import read_marker
from dupekit.review.verdicts import read_tree, tree_manifest
from dupekit.review.watch.watcher import follow
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from dupekit.system.mounts import is_network
from tests.review.trees import dupes_in
from tests.review.watch.following import counts


def test_it_follows_and_keeps_after_txt_current(tree, watch) -> None:
    watching = watch()
    assert counts(watching.until(lambda _: True)) == {"open": 60}
    files = sorted((tree / "c0").glob("*.png"))
    for file in files[:5]:
        file.unlink()
    files[5].rename(tree / "_unsure" / "moved.png")
    shutil.rmtree(tree / "c1")
    last = watching.until(lambda s: counts(s) == {"correct": 25, "unsure": 1, "open": 34})
    assert last.trouble is None
    assert read_lines(tree / MARKER / "after.txt") == sorted(list_tree(tree).files, key=str.encode)
    watching.end()
    events = [json.loads(line) for line in (tree / MARKER / "events.jsonl").read_text().splitlines()]
    assert {"deleted", "moved"} <= {event["kind"] for event in events}
    assert all(set(event) == {"at", "kind", "path", "target"} for event in events)


def test_a_line_that_a_killed_watcher_left_half_written_costs_no_other(tree, watch) -> None:
    log = tree / MARKER / "events.jsonl"
    log.write_text('{"at": "2026-01-02T03:04:05+00:00", "kind": "deleted", "path": "c1/oth')
    watching = watch()
    watching.until(lambda _: True)
    (tree / "c0" / "other_09_0.png").unlink()
    watching.until(lambda s: counts(s)["correct"] == 1)
    watching.end()
    assert [(event.kind, event.path) for event in read_marker(tree, tree_manifest(tree)).events] == [
        ("deleted", "c0/other_09_0.png")
    ]


def test_what_happened_while_it_was_not_running_counts(tree, watch) -> None:
    watch().end()
    for file in (tree / "c2").glob("*.png"):
        file.unlink()
    assert counts(watch().until(lambda _: True)) == {"correct": 20, "open": 40}


def test_the_end_reconciles(tree, watch) -> None:
    watching = watch()
    watching.until(lambda _: True)
    (tree / "c0" / "other_09_0.png").unlink()
    assert counts(watching.end())["correct"] == 1
    assert len(read_lines(tree / MARKER / "after.txt")) == 59


@pytest.mark.parametrize("swap", [False, True])
def test_a_namesake_that_takes_the_place_of_another_is_seen(tmp_path, swap) -> None:
    """Equally long and equally old, as pictures of one size from one archive are."""
    dupes = []
    for i, folder in enumerate(["c0", "c1"]):
        file = tmp_path / "data" / folder / "001.bmp"
        file.parent.mkdir(parents=True)
        file.write_text(f"content {i}")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        dupes.append(Suspect(i, f"{folder}/001.bmp", digest_file(file), folder, "other", 9, 1.0, 0.1, 0.9))
    manifest = plan_tree(dupes, ["c0", "c1", "other"], round_number=1, pairs=10, created="")
    tree = tmp_path / "tree"
    write_tree(manifest, tmp_path / "data", tree)
    snapshots = follow(tree, manifest, tree / MARKER, stop=threading.Event(), poll_s=0.1)
    next(snapshots)
    one, two = (tree / file.path for file in manifest.files)
    if swap:
        two.rename(tree / "kept")
    one.replace(two)
    if swap:
        (tree / "kept").rename(one)
    expected = read_tree(tree, manifest).review
    assert {v.label for v in expected.verdicts} == ({"c0", "c1"} if swap else {"c1"})
    assert next(snapshots).review == expected
    snapshots.close()


def test_a_file_overwritten_where_it_lies_is_seen_at_once(tree, watch) -> None:
    watching = watch()
    watching.until(lambda _: True)
    shutil.copyfile(tree / "c1" / "other_09_1.png", tree / "c0" / "other_09_0.png")
    seen = watching.until(lambda s: counts(s)["correct"] == 1)
    assert [(event.kind, event.path) for event in seen.events] == [("written", "c0/other_09_0.png")]


@pytest.mark.parametrize("polled", [False, True])
def test_folders_of_namesakes_that_were_exchanged_are_seen(tmp_path, monkeypatch, polled) -> None:
    """Where the files' times cannot tell, as on a file system whose clock ticks coarsely."""

    def ticks(at: Path) -> Listing:
        found = list_tree(at)
        files = {path: entry._replace(changed_ns=2**62) for path, entry in found.files.items()}
        return dataclasses.replace(found, files=files)

    monkeypatch.setattr("dupekit.review.watch.look.list_tree", ticks)
    dupes = dupes_in(
        tmp_path / "data", {f"{label}/{i}.png": (f"{label}{i}", "x") for label in "ab" for i in "12"}
    )
    for path in tmp_path.glob("data/*/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    manifest = plan_tree(dupes, ["a", "b", "x"], round_number=1, pairs=10, created="")
    tree = tmp_path / "tree"
    manifest = write_tree(manifest, tmp_path / "data", tree)
    poll_s = 0.1 if polled else None
    snapshots = follow(tree, manifest, tree / MARKER, stop=threading.Event(), poll_s=poll_s)
    assert {v.label for v in next(snapshots).review.verdicts} == {"a", "b"}
    (tree / "a").rename(tree / "kept")
    (tree / "b").rename(tree / "a")
    (tree / "kept").rename(tree / "b")
    labels: list[str] = []
    while labels != ["b", "b", "a", "a"]:  # where it polls, it may see them on the way
        labels = [v.label for v in next(snapshots).review.verdicts]
    snapshots.close()


def test_a_tree_that_goes_away_was_not_emptied(tree, watch, tmp_path) -> None:
    watching = watch(tmp_path, poll_s=0.5)
    watching.until(lambda _: True)
    tree.rename(tmp_path / "unplugged")
    assert "not available" in watching.until(lambda s: s.review is None).trouble
    assert len(read_lines(tmp_path / "after.txt")) == 60
    (tmp_path / "unplugged").rename(tree)
    assert counts(watching.until(lambda s: s.review is not None)) == {"open": 60}
    (tree / "c0" / "other_09_0.png").unlink()  # and it is heard again
    assert watching.until(lambda s: counts(s)["correct"] == 1)


def test_looking_alone_finds_everything(tree, watch, monkeypatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("dupekit.review.watch.events.Observer.schedule", full)
    watching = watch(poll_s=0.5)
    assert "max_user_watches" in watching.until(lambda _: True).trouble
    for file in (tree / "c2").glob("*.png"):
        file.unlink()
    assert watching.until(lambda s: counts(s)["correct"] == 20)


def test_a_second_watcher_keeps_nothing_until_the_first_has_ended(tree, watch, tmp_path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = (watch(tmp_path / name, poll_s=0.5) for name in ("first", "second"))
    one, other = first.until(lambda _: True), second.until(lambda _: True)
    if one.beside:  # which of them was quicker is chance
        first, second, other = second, first, one
    assert (other.beside, other.kept) == (True, False)
    next((tree / "c0").glob("*.png")).unlink()
    assert second.until(lambda s: counts(s)["correct"] == 1).beside
    assert len(list(tmp_path.glob("*/after.txt"))) == 1
    first.end()
    assert second.until(lambda s: not s.beside).kept
    assert len(list(tmp_path.glob("*/after.txt"))) == 2
    assert second.end().kept


def test_a_folder_that_is_no_tree_is_refused(tree) -> None:
    manifest = tree_manifest(tree)
    shutil.rmtree(tree / MARKER)
    with pytest.raises(TreeUnavailable, match=r"no folder \.dupekit"):
        next(follow(tree, manifest, tree / MARKER, stop=threading.Event()))
    assert not (tree / MARKER).exists()  # a lock file must not make the mark


def test_a_local_folder_is_not_a_network_share(tmp_path) -> None:
    assert not is_network(tmp_path)


@pytest.mark.parametrize(("kind", "network"), [
    *((kind, True) for kind in (
        "cifs", "smb3", "nfs", "nfs4", "9p", "ceph", "fuse", "fuse.smbnetfs", "fuse.rclone", "fuse.gvfsd-fuse",
        "fuse.sshfs", "fuse.glusterfs", "virtiofs", "vboxsf",
    )),
    *((kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "fuseblk", "ntfs3", "overlay", "autofs")),
])  # fmt: skip
def test_a_share_is_known_by_its_type(tmp_path, monkeypatch, kind, network) -> None:
    tmp_path = tmp_path / "nås né"
    tmp_path.mkdir()
    mounts = f"/dev/sda1 / ext4 rw 0 0\n//nas/x {str(tmp_path).replace(' ', chr(92) + '040')} {kind} rw 0 0\n"
    real = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda self, *a, **k: mounts if str(self) == "/proc/self/mounts" else real(self, *a, **k),
    )
    assert is_network(tmp_path / "tree") == network
    assert not is_network(tmp_path.parent)
