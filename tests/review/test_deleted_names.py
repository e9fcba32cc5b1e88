"""What a file server or a sync program makes of a file that is deleted there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dupekit.project import Project
from dupekit.review.verdicts import FileVerdict, Verdict
from tests.reviewed import exported_project

IMAGES = {"a/1.bmp": "b", "a/deep/2.bmp": "b", "a/deep/deeper/3.bmp": "b", "b/4.bmp": "a"}
FOLDERS = (
    ".stversions", ".recycle", "#recycle", "@Recycle", ".@Recycle", ".deleted", ".sync/Archive", ".dtrash", "Network Trash Folder",
    "RECYCLED", "RECYCLER", "$RECYCLE.BIN/S-1-5", ".Trash-1000/files", ".Trashes/501", ".dropbox.cache", "#snapshot/daily",
    "@Recently-Snapshot", "~snapshot", ".snapshot",
)  # fmt: skip
FILES = (
    ".smbdeleteAAA0000001",
    ".afpDeleted1234",
    ".nfs00000000000a1b2c00000001",
    ".fuse_hidden0000001200000001",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return exported_project(tmp_path, IMAGES)


def said(project: Project, tree: Path, original: str) -> FileVerdict:
    found = project.collect(tree, confirm=lambda _: True)
    return next(v for v in found.review.verdicts if v.file.original == original)


@pytest.mark.parametrize("original", ["a/1.bmp", "a/deep/2.bmp", "a/deep/deeper/3.bmp"])
@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_is_deleted_at_every_depth(project: Project, tmp_path: Path, original: str, name: str) -> None:
    """In the file's own folder, and in each above it up to the top of the tree."""
    tree = tmp_path / "tree"
    file = tree / said(project, tree, original).file.path
    for folder in file.parents[: original.count("/") + 1]:
        place = folder / name / file.name if name in FOLDERS else folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
        assert said(project, tree, original).verdict == Verdict.CORRECT, place
        place.rename(file)
        assert said(project, tree, original).verdict == Verdict.OPEN, place


@pytest.mark.parametrize(
    "place", ["a/.hidden.bmp", "a/.kept/x.bmp", "a/.~x.bmp", "b/.unknown-server-deleted-0001"]
)
@pytest.mark.parametrize("collected", [False, True])
def test_under_another_hidden_name_it_is_not_left_in_silence(
    project: Project, tmp_path: Path, place: str, *, collected: bool
) -> None:
    tree = tmp_path / "tree"
    file = next((tree / "a").glob("b_*1.bmp"))
    if collected:  # then nothing but its name changes
        assert said(project, tree, "a/1.bmp").verdict == Verdict.OPEN
    (tree / place).parent.mkdir(exist_ok=True)
    file.rename(tree / place)
    (remark,) = project.collect(tree).remarks
    assert f"1 image lies under a hidden name, such as {place}:" in remark
    assert said(project, tree, "a/1.bmp").verdict == Verdict.UNSURE
    (tree / place).rename(tree / "a" / "seen.bmp")
    assert project.collect(tree).remarks == []
    assert said(project, tree, "a/1.bmp").verdict == Verdict.OPEN


def test_what_was_to_be_dropped_is_dropped_whatever_it_is_called(project: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    next((tree / "a").glob("b_*1.bmp")).rename(tree / "_expunge" / ".x.bmp")
    assert said(project, tree, "a/1.bmp").verdict == Verdict.EXPUNGE
