"""Moves that the system refuses, in words; and files that are easily mistaken."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dupekit.errors import MoveRefused
from dupekit.review import moves as module
from dupekit.review.manifest import DONE, MARKER
from dupekit.review.match import Index
from dupekit.review.moves import Decision, Moves
from dupekit.review.verdicts import read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import dupes_in, make_tree


def test_what_the_system_refuses_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path)
    manifest = tree_manifest(tree)
    moves = Moves(tree, manifest, Index(manifest))
    file = manifest.files[0]
    wanted = moves.wanted(file, Decision.RIGHT)
    for number, said in {
        errno.EROFS: "share that can only be read",
        errno.ENOSPC: "The disk is full",
        errno.EACCES: "You may not write there",
        errno.ENAMETOOLONG: "too long",
        errno.EXDEV: "another disk",
        errno.EIO: "Input/output error",
    }.items():

        def refuse(*_: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module, "move", refuse)
        with pytest.raises(MoveRefused, match=f"^{file.path} was not moved to _right/a. .*{said}"):
            moves.move(file, file.path, wanted)
    monkeypatch.undo()
    assert (tree / file.path).is_file()
    with pytest.raises(MoveRefused, match="somebody has moved or deleted it"):
        moves.move(file, "a/none.png", wanted)
    shutil.rmtree(tree / "_right")
    (tree / "_right").write_text("a file")
    with pytest.raises(MoveRefused, match="What should be a folder is a file"):
        moves.move(file, file.path, wanted)
    (tree / MARKER).rename(tree / "away")
    with pytest.raises(MoveRefused, match="cannot be reached"):
        moves.move(file, file.path, wanted)
    assert (tree / file.path).is_file()


def test_an_image_is_never_put_where_it_would_be_taken_for_another(tmp_path: Path) -> None:
    """Two copies of one image in two classes: one is right, and the other is moved to where that one was."""
    images = {"a/1.png": ("one", "x"), "b/1.png": ("one", "x"), "c/1.png": ("one", "x")}
    manifest = plan_tree(
        dupes_in(tmp_path / "data", images), ["a", "b", "c", "x"], round_number=1, pairs=10, created=""
    )
    manifest = write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    moves = Moves(tmp_path / "tree", manifest, Index(manifest))
    first, second, _ = manifest.files
    moves.move(first, first.path, moves.wanted(first, Decision.RIGHT))
    assert moves.move(second, second.path, moves.wanted(second, Decision.CLASS, "a")) == "a/b/x_09_1.png"
    verdicts = read_tree(tmp_path / "tree", manifest).review.verdicts
    assert [(v.verdict, v.label) for v in verdicts] == [("correct", "a"), ("relabel", "a"), ("open", "c")]


def test_images_that_are_alike_keep_what_was_decided_on_each(tmp_path: Path) -> None:
    """One image under one name in two classes, and each belongs elsewhere: also where that is the other's class."""
    images = {"a/1.png": ("one", "x"), "c/1.png": ("one", "x")}
    for number, wanted in enumerate((["c", "d"], ["e", "d"], [None, "d"], ["new", "a"])):
        folder = tmp_path / str(number)
        manifest = plan_tree(
            dupes_in(folder / "data", images), list("acdex"), round_number=1, pairs=10, created=""
        )
        manifest = write_tree(manifest, folder / "data", folder / "tree")
        moves = Moves(folder / "tree", manifest, Index(manifest))
        for file, label in zip(manifest.files, wanted, strict=True):
            if label is None:
                (folder / "tree" / file.path).unlink()
            else:
                moves.move(file, file.path, moves.wanted(file, Decision.CLASS, label))
        verdicts = read_tree(folder / "tree", manifest).review.verdicts
        assert [v.label for v in verdicts] == [label or "a" for label in wanted]


def test_what_took_an_images_place_is_not_moved_for_it(tmp_path: Path) -> None:
    """Two namesakes lie where the other one was last seen: as on a share, of which one hears late."""
    images = {"a/1.png": ("one", "x"), "b/1.png": ("two", "x")}
    manifest = plan_tree(
        dupes_in(tmp_path / "data", images), ["a", "b", "x"], round_number=1, pairs=10, created=""
    )
    tree = tmp_path / "tree"
    manifest = write_tree(manifest, tmp_path / "data", tree)
    moves = Moves(tree, manifest, Index(manifest))
    first, second = manifest.files
    there = moves.move(first, first.path, moves.wanted(first, Decision.CLASS, "x"))
    (tree / there).rename(tree / "aside")
    (tree / second.path).rename(tree / there)
    with pytest.raises(MoveRefused, match="somebody has moved or deleted it"):
        moves.move(first, there, moves.wanted(first, Decision.EXPUNGE))
    with pytest.raises(MoveRefused, match="somebody has moved or deleted it"):
        moves.move_back(first, there, first.path)
    with pytest.raises(FileNotFoundError):
        moves.content(first, there)
    assert moves.content(second, there) == b"two"
    # What was edited in its place is still the same image.
    (tree / "aside").write_text("ONE")
    assert moves.move(first, "aside", moves.wanted(first, Decision.RIGHT)) == f"_right/{first.path}"


def test_a_class_that_is_called_done_is_no_verdict(tmp_path: Path) -> None:
    """As in a tree of an earlier dupekit: there, `_done` says nothing, and the suggested class's folder does."""
    tree = make_tree(tmp_path)
    manifest = tree_manifest(tree)
    manifest = manifest.model_copy(update={"folders": manifest.folders | {DONE: DONE}})
    moves = Moves(tree, manifest, Index(manifest))
    assert moves.wanted(manifest.files[0], Decision.SUGGESTED).path == "x/x_09_1.png"
    manifest = manifest.model_copy(update={"folders": manifest.folders | {"_right": "_right"}})
    with pytest.raises(MoveRefused, match="would not be read as it is meant"):
        Moves(tree, manifest, Index(manifest)).wanted(manifest.files[0], Decision.RIGHT)
