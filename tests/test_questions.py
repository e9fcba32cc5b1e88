"""What must be confirmed before it is recorded: whole folders, whole trees. Real folders."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.errors import NotConfirmed
from dupekit.export import plan_tree, write_tree
from dupekit.manifest import Manifest
from dupekit.questions import questions, top_folders
from dupekit.review import review_tree, tree_manifest
from tests.test_review_tree import dupes_in

SIZES = {"big": 30, "middle": 10, "small": 2}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    images = {f"{c}/{i}.png": (f"{c} {i}", "other") for c, n in SIZES.items() for i in range(n)}
    manifest = plan_tree(
        dupes_in(tmp_path / "data", images), [*SIZES, "other"], round_number=1, pairs=10, created=""
    )
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    return tmp_path / "tree"


def asked(tree: Path, manifest: Manifest | None = None) -> list[tuple[str, str, str, int]]:
    verdicts = review_tree(tree, manifest or tree_manifest(tree)).verdicts
    changed = [v for v in verdicts if (v.verdict, v.label) != ("relabel", "other")]
    return [(q.kind, q.folder, q.target, q.files) for q in questions(verdicts, changed, top_folders(tree))]


def empty(*folders: str) -> Callable[[Path], None]:
    def do(tree: Path) -> None:
        for folder in folders:
            for file in (tree / folder).iterdir():
                file.unlink()

    return do


def remove(*folders: str) -> Callable[[Path], None]:
    return lambda tree: [shutil.rmtree(tree / folder) for folder in folders] and None


def rename(source: str, target: str) -> Callable[[Path], None]:
    def do(tree: Path) -> None:
        (tree / target).parent.mkdir(exist_ok=True)
        (tree / source).rename(tree / target)

    return do


def spread(tree: Path) -> None:
    """Carried file by file into several folders, and the empty one tidied away."""
    for i, file in enumerate(sorted((tree / "middle").iterdir())):
        file.rename(tree / ["small", "_unsure", "big"][i % 3] / f"was in middle {file.name}")
    (tree / "middle").rmdir()


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        (lambda tree: None, []),
        (empty("middle"), []),
        (remove("middle"), [("deleted", "middle", "", 10)]),
        (remove("small"), []),
        (remove("big", "middle"), [("deleted", "big", "", 30), ("deleted", "middle", "", 10)]),
        (rename("big", ".Trash-1000/big"), [("deleted", "big", "", 30)]),
        (remove(*SIZES), [("emptied", "", "", 42)]),
        (empty(*SIZES), [("emptied", "", "", 42)]),
        (rename("middle", "a new class"), [("moved", "middle", "a new class", 10)]),
        (rename("small", "big/small"), [("moved", "small", "big", 2)]),
        (rename("middle", "_expunge/middle"), [("moved", "middle", "_expunge", 10)]),
        (rename("middle", "_unsure/middle"), []),
        (rename("middle", "MIDDLE"), []),
        (spread, []),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_what_is_asked(tree, do, expected) -> None:
    do(tree)
    assert asked(tree) == expected


def test_a_renamed_folder_gives_its_files_the_new_label(tree) -> None:
    (tree / "middle").rename(tree / "a new class")
    found = review_tree(tree, tree_manifest(tree)).verdicts
    moved = [(v.verdict, v.label) for v in found if v.file.given == "middle"]
    assert moved == [("relabel", "a new class")] * 10


def test_nothing_is_recorded_unless_confirmed_and_nothing_asked_twice(trained) -> None:
    trained.flag(threshold=3)
    tree = trained.export().tree
    trained.collect()
    shutil.rmtree(tree / "ciliate")
    with pytest.raises(NotConfirmed, match="The folder ciliate is gone"):
        trained.collect()
    with pytest.raises(NotConfirmed):
        trained.collect(confirm=lambda asked: False)
    assert trained.ignores() == []
    assert [v.verdict for v in trained.collect(confirm=lambda asked: True).changed] == ["correct"]
    assert trained.collect().changed == []  # answered


def dupekit(*arguments: object, code: int, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dupekit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def slipped(trained) -> Path:
    trained.flag(threshold=3)
    shutil.rmtree(trained.export().tree / "ciliate")
    return trained.path


def test_a_script_has_to_say_yes(slipped) -> None:
    said = dupekit("collect", "-p", slipped, code=2, stdin=subprocess.DEVNULL)
    assert "The folder ciliate is gone (1 file, 50% of the tree)" in said.stderr
    assert "--yes" in said.stderr
    assert said.stdout == ""
    assert "2 verdicts new" in dupekit("collect", "--yes", "-p", slipped, code=0).stdout


@pytest.mark.parametrize(("answer", "code"), [(b"\n", 2), (b"y\n", 0)])
def test_a_person_is_asked_and_return_means_no(slipped, answer, code) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        said = dupekit("collect", "-p", slipped, code=code, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Were all of these labelled right? [y/N]" in said.stderr
