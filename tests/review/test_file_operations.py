"""Real operations by real tools, and the verdicts on them: with the watcher running, stopped, and killed half-way."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.files.write import digest_file, read_lines
from dupekit.review.manifest import MARKER
from dupekit.review.verdicts import read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import (
    A_IN_B,
    A_NEW,
    DONE_A,
    DONE_B,
    ONE_IN_B,
    RIGHT_1,
    RIGHT_2,
    RIGHT_A,
    RIGHT_B,
    check,
    dupes_in,
    left,
    make_tree,
    renew,
    watching,
)  # fmt: skip
from tests.support import until

# What a file manager does, in Python: $1 is what to do.
MANAGER = """
import os, shutil, sys, unicodedata
from pathlib import Path
one, b = Path("a/x_09_1.png"), Path("b")
def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
def copy_by(temporary, target):  # under a temporary name first
    shutil.copy2(one, b / temporary)
    os.rename(b / temporary, b / target)
match sys.argv[1]:
    case "explorer move": copy_by("~x1.tmp", one.name); one.unlink()
    case "explorer copy": copy_by("~x1.tmp", "x_09_1 - Copy.png"); shutil.copy2(one, "a/x_09_1 (2).png")
    case "explorer copy, original deleted": shutil.copy2(one, "a/x_09_1 - Copy.png"); one.unlink()
    case "move over another": shutil.move(one, b / "x_09_3.png")
    case "explorer clutter": put(b / "desktop.ini"); put(b / "Thumbs.db"); put(Path("Thumbs.db"))
    case "explorer bin": put(Path("$RECYCLE.BIN/S-1/desktop.ini")); one.rename("$RECYCLE.BIN/S-1/$R1.png")
    case "finder move": copy_by(".x_09_1.png.tmp", one.name); put(b / "._x_09_1.png"); one.unlink()
    case "finder clutter": put(b / ".DS_Store"); put(Path(".DS_Store")); put(b / "._x_09_3.png", "three")
    case "finder bin": put(Path(".Trashes/501/.DS_Store")); one.rename(".Trashes/501/x_09_1.png")
    case "finder names":
        for file in list(b.iterdir()): file.rename(b / unicodedata.normalize("NFD", file.name))
    case "linux bin": put(Path(".Trash-1000/info/1.trashinfo")); put(Path(".Trash-1000/files/1.png")); one.replace(".Trash-1000/files/1.png")
    case "nas bin": put(Path("#recycle/a/.x")); one.rename("#recycle/a/x_09_1.png"); put(b / "@eaDir/x_09_3.png/thumb.jpg")
    case "nas bin in the class": put(Path("a/#recycle/.x")); one.rename("a/#recycle/x_09_1.png")
"""

# Tool, shell command run in the tree, what differs from a tree that was left alone.
OPERATIONS = [
    ("rm", "rm a/x_09_1.png", RIGHT_1),
    ("rm", "rm -r a", RIGHT_A),
    ("rm", "rm a/*", RIGHT_A),
    ("mv", "mv a/x_09_1.png b/", ONE_IN_B),
    ("mv", "mkdir 'new class' && mv a/* 'new class'/", A_NEW),
    ("mv", "mv a 'new class'", A_NEW),
    ("mv", "mv a b/", A_IN_B),
    ("mv", "mv a/x_09_1.png a/X_09_1.PNG", {}),
    ("mv", "mv a/x_09_1.png b/other.png && mv a/x_09_2.png a/x_09_1.png", ONE_IN_B),
    ("mv", "mv a/x_09_1.png ../away && mv ../away a/x_09_1.png", {}),
    ("mv", "mv a/x_09_1.png ../away", RIGHT_1),
    ("mv", "mv -f a/x_09_1.png b/x_09_3.png", ONE_IN_B | {"b/3.png": ("correct", "b")}),
    ("mv", "mv -f a/x_09_1.png a/x_09_2.png", RIGHT_2),  # equally long
    ("mv", "mv b/x_09_3.png t && mv b/x_09_é.png b/x_09_3.png && mv t b/x_09_é.png", {}),
    ("mv", "mv a t && mv b a && mv t b", A_IN_B | {"b/3.png": ("relabel", "a"), "b/é.png": ("relabel", "a")}),
    ("mv", "mv a/x_09_1.png _expunge/ && mv a/x_09_2.png _unsure/",
     {"a/1.png": ("expunge", "a"), "a/2.png": ("unsure", "a")}),
    # Finished, and cleared where one can see it.
    ("mv", "mv a _done/", DONE_A),
    ("mv", "mv a/x_09_1.png _done/", {"a/1.png": ("relabel", "x")}),
    ("mv", "mv a/x_09_1.png _done/001.png", {"a/1.png": ("relabel", "x")}),
    ("mv", "rm a/x_09_1.png && mv a _done/", DONE_A | RIGHT_1),
    ("mv", "mv _done a/ && mv a/x_09_1.png a/_done/", {"a/1.png": ("relabel", "x")}),
    ("mv", "mkdir -p b/_done && mv a b/_done/", DONE_A),
    ("mv", "mkdir _done/_done && mv a _done/_done/", DONE_A),
    ("mv", "mv a _right/", RIGHT_A),
    ("mv", "mv a/x_09_1.png _right/ && mv _right _done/", RIGHT_1),
    ("mv", "mv b _done/ && mv a/x_09_1.png _done/b/", ONE_IN_B | DONE_B),
    ("mv", "mv _done _DONE && mv a _DONE/A", DONE_A),
    ("mv", "mkdir .later && mv _done .later/ && mv a .later/_done/",
     {"a/1.png": ("unsure", "a"), "a/2.png": ("unsure", "a")}),
    ("cp", "cp -r a _done/", {}),
    ("cp", "cp -r a _done/ && rm -r a", DONE_A),
    # What NFS and FUSE make of a file that is deleted while it is open.
    ("mv", "mv a/x_09_1.png a/.nfs00000000000a1b2c00000001", RIGHT_1),
    ("mv", "mv a/x_09_1.png a/.fuse_hidden0000001200000001", RIGHT_1),
    ("cp", "cp a/x_09_1.png b/", {}),
    ("cp", "cp a/x_09_1.png b/ && rm a/x_09_1.png", ONE_IN_B),
    ("cp", "cp a/x_09_1.png b/x_09_3.png", {"b/3.png": ("correct", "b")}),
    ("cp", "cp -r a 'new class'", {}),
    ("cp", "cp -r a 'new class' && rm -r a", A_NEW),
    ("rsync", "rsync -a a/ b/ && rm -r a", A_IN_B),
    ("rsync", "rsync -a --remove-source-files a/ b/", A_IN_B),
    ("rsync", "mkdir ../none && rsync -a --delete ../none/ a/", RIGHT_A),
    ("rsync", "rsync -a ./ ../copy/ && rm ../copy/a/x_09_1.png && rsync -a --delete ../copy/ ./", RIGHT_1),
    ("find", "find a b -type f -delete", RIGHT_A | RIGHT_B),
    ("find", "find . -name '*_1.png' -delete", RIGHT_1),
    ("tar", "tar cf ../t.tar a && rm -r a && tar xf ../t.tar", {}),
    ("tar", "tar cf ../t.tar a && rm -r a && tar xf ../t.tar -C b --strip-components 1", A_IN_B),
    ("zip", "zip -qrm ../t.zip a", RIGHT_A),
    ("sed", "sed -i s/one/ONE/ a/x_09_1.png", {}),
    ("sed", "sed -i s/one/ONE/ a/x_09_1.png && mv a/x_09_1.png b/", ONE_IN_B),
    ("touch", "touch a/x_09_1.png && touch b/added.png", {}),
    ("explorer move", "", ONE_IN_B),
    ("explorer copy", "", {}),
    ("explorer copy, original deleted", "", {}),
    ("move over another", "", ONE_IN_B | {"b/3.png": ("correct", "b")}),
    ("explorer clutter", "", {}),
    ("explorer bin", "", RIGHT_1),
    ("finder move", "", ONE_IN_B),
    ("finder clutter", "", {}),
    ("finder bin", "", RIGHT_1),
    ("finder names", "", {}),
    ("linux bin", "", RIGHT_1),
    ("nas bin", "", RIGHT_1),
    ("nas bin in the class", "", RIGHT_1),
]  # fmt: skip


def operate(tree: Path, tool: str, command: str) -> None:
    if command and not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    arguments = ["sh", "-ec", command] if command else [sys.executable, "-c", MANAGER, tool]
    subprocess.run(arguments, cwd=tree, check=True, timeout=30)


CASES = [pytest.param(*row, id=f"{row[0]}: {row[1]}" if row[1] else row[0]) for row in OPERATIONS]


@pytest.mark.parametrize(("tool", "command", "expected"), CASES)
def test_nobody_watches(tmp_path, tool, command, expected) -> None:
    tree = make_tree(tmp_path)
    operate(tree, tool, command)
    check(tree, expected)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["watched", "watcher killed half-way"])
def test_somebody_watches(tmp_path, end) -> None:
    """A watcher lives through many operations, each followed by putting everything back.

    Killed half-way: after the first half of the operations on a tree, without a word; and a new one goes on. The
    watchers mostly wait whether more comes, so several trees are watched at once.
    """
    rows = [row for row in OPERATIONS if not row[1] or shutil.which(row[0])]
    with ThreadPoolExecutor(TREES) as pool:
        folders = [tmp_path / str(i) for i in range(TREES)]
        list(pool.map(watched_through, folders, [rows[i::TREES] for i in range(TREES)], [end] * TREES))


TREES = 3


def watched_through(folder: Path, rows: list[tuple[str, str, dict[str, tuple[str, str]]]], end: int) -> None:
    tree = make_tree(folder)
    shutil.copytree(tree, folder / "fresh")

    def told(expected: dict[str, tuple[str, str]]) -> None:
        after = check(tree, expected)
        until(lambda: read_lines(tree / MARKER / "after.txt") == after)

    half = len(rows) // 2
    expected: dict[str, tuple[str, str]] = {}
    for part in (rows[:half], rows[half:]) if end == signal.SIGKILL else (rows,):
        with watching(tree) as process:
            told(expected)  # what a dead watcher left behind harms no one
            for tool, command, expected in part[:-1]:
                renew(tree, folder / "fresh")
                operate(tree, tool, command)
                told(expected)
            renew(tree, folder / "fresh")
            tool, command, expected = part[-1]
            operate(tree, tool, command)
            os.kill(process.pid, end)  # while it has not yet seen the last operation
            process.wait(30)
    if end == signal.SIGTERM:
        assert read_lines(tree / MARKER / "after.txt") == check(tree, expected)
    else:
        with watching(tree):
            told(expected)


@pytest.mark.parametrize(
    ("command", "one", "two"),
    [
        ("rm a/x_09_1.png", ("correct", "a"), ("open", "b")),
        ("mv a/x_09_1.png b/", ("relabel", "b"), ("open", "b")),
        ("mv a/x_09_1.png b/ && mv b/x_09_2.png a/", ("relabel", "b"), ("relabel", "a")),
        ("mv a/x_09_1.png b/x_09_2.png", ("correct", "a"), ("open", "b")),
        ("mv a/x_09_1.png a/one.png && mv b/x_09_2.png b/two.png", ("open", "a"), ("open", "b")),
        (
            "mkdir c && mv a/x_09_1.png c/one.png && mv b/x_09_2.png c/two.png",
            ("relabel", "c"),
            ("relabel", "c"),
        ),
        ("cp a/x_09_1.png _unsure/copy.png && rm a/x_09_1.png", ("unsure", "a"), ("open", "b")),
        ("mv a/x_09_1.png _expunge/ && rm b/x_09_2.png", ("expunge", "a"), ("correct", "b")),
        ("rm a/x_09_1.png && mv b/x_09_2.png a/", ("correct", "a"), ("relabel", "a")),
    ],
)
def test_two_exported_files_of_equal_content(tmp_path, command, one, two) -> None:
    dupes = dupes_in(tmp_path / "data", {"a/1.png": ("same", "x"), "b/2.png": ("same", "x")})
    manifest = plan_tree(dupes, ["a", "b", "x"], round_number=1, pairs=10, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path / "tree", check=True, timeout=30)
    found = read_tree(tmp_path / "tree", manifest).review
    assert [(v.verdict, v.label) for v in found.verdicts] == [one, two]
    assert found.strangers == []


# Moves that copy: done again after they were killed, they go on. The tool, its steps, each with where files come to.
MOVES = [
    ("rsync", [("rsync -a --remove-source-files a/ b/", "b")]),
    ("mv", [("mv a/* AWAY/", "AWAY"), ("mv AWAY/* b/", "b")]),
    ("explorer", [("for f in a/*; do cp -p $f b/ && rm $f; done", "b")]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "steps"), MOVES, ids=[row[0] for row in MOVES])
@pytest.mark.parametrize(
    ("finished", "watched"),
    [(False, False), (True, False), (True, True)],
    ids=["again and again", "and finished", "and finished, while somebody watches"],
)
def test_a_tool_that_is_killed_in_the_middle(tmp_path, tool, steps, finished, watched) -> None:
    """Whatever lies whole in the tree is not read as deleted, and what was moved in the end is read as moved."""
    if tool == "rsync" and not shutil.which(tool):
        pytest.skip("rsync is not installed")
    shm = Path("/dev/shm")  # another file system, so that mv has to copy
    if tool == "mv" and not (os.access(shm, os.W_OK) and shm.stat().st_dev != tmp_path.stat().st_dev):
        pytest.skip("/dev/shm is needed, and must be another file system")
    chance = random.Random(tool)
    many = {f"a/{i:03d}.png": (f"{i} " * 20_000, "x") for i in range(150)}
    dupes = dupes_in(tmp_path / "data", many)
    manifest = plan_tree(dupes, ["a", "b", "x"], round_number=1, pairs=10, created="")
    tree = tmp_path / "tree"
    write_tree(manifest, tmp_path / "data", tree)
    (tree / "b").mkdir(exist_ok=True)
    digests = {file.digest for file in manifest.files}
    with (
        tempfile.TemporaryDirectory(dir=shm if tool == "mv" else tmp_path) as away,
        watching(tree, "--quiet") if watched else contextlib.nullcontext(),
    ):
        for command, target in steps:
            there = Path(away) if target == "AWAY" else tree / target
            for count in sorted(chance.sample(range(1, 140), 4)):
                killed(
                    command.replace("AWAY", away),
                    tree,
                    lambda there=there, n=count: len(list(there.iterdir())) >= n,
                )
                whole = digests & {digest_file(file) for file in tree.glob("[ab]/*")}
                review = read_tree(tree, manifest).review
                assert whole.isdisjoint(v.file.digest for v in review.verdicts if v.verdict == "correct")
                if watched:
                    until(lambda review=review: read_lines(tree / MARKER / "after.txt") == left(review))
            if finished:
                # Not checked: it may have been killed when nothing was left to do.
                subprocess.run(["sh", "-c", command.replace("AWAY", away)], cwd=tree, check=False, timeout=60)
        if finished:
            review = read_tree(tree, manifest).review
            assert {(v.verdict, v.label) for v in review.verdicts} == {("relabel", "b")}
        if watched:
            until(lambda: read_lines(tree / MARKER / "after.txt") == left(review))


def killed(command: str, tree: Path, condition: Callable[[], bool]) -> None:
    """Runs a command and kills it with all its children as soon as the condition holds, or when it has ended."""
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=tree,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: condition() or process.poll() is not None)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # ends when the last of the children, who share the pipe, is gone


def test_a_file_moved_on_while_it_is_read_is_not_read_as_deleted(tmp_path, monkeypatch) -> None:
    tree = make_tree(tmp_path)
    moved = (tree / "a" / "x_09_1.png").rename(tree / "b" / "x_09_1.png")

    def meanwhile(path: Path) -> str:
        if moved.exists():
            moved.rename(tree / "_unsure" / moved.name)
        return digest_file(path)

    monkeypatch.setattr("dupekit.review.verdicts.digest_file", meanwhile)
    review = read_tree(tree, tree_manifest(tree)).review
    verdicts = {v.file.original: (v.verdict, v.label) for v in review.verdicts}
    assert verdicts["a/1.png"] == ("unsure", "a")
    assert not moved.exists()
    check(tree, {"a/1.png": ("unsure", "a")})


def test_a_file_replaced_while_it_is_read_is_not_read_as_deleted(tmp_path) -> None:
    """As by a program that saves under a temporary name, again and again."""
    tree, stop = make_tree(tmp_path), threading.Event()
    moved = (tree / "a" / "x_09_1.png").rename(tree / "b" / "x_09_1.png")

    def save() -> None:
        for number in itertools.count():
            (tree / "saving").write_text("one" if number % 2 else "another")
            (tree / "saving").replace(moved)
            if stop.wait(0.01):
                return

    saving = threading.Thread(target=save)
    saving.start()
    try:
        for _ in range(5):
            with contextlib.suppress(TreeUnavailable):
                found = read_tree(tree, tree_manifest(tree)).review.verdicts[0]
                assert (found.verdict, found.label) == ("relabel", "b")
    finally:
        stop.set()
        saving.join()
    check(tree, ONE_IN_B)
