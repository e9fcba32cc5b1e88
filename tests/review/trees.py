"""Review trees, what is said of them, and a real watcher on one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dupekit.files.paths import real_path
from dupekit.files.write import digest_file
from dupekit.review.manifest import MARKER
from dupekit.review.verdicts import Review, read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from tests.support import until

# The tree: a/x_09_1.png, a/x_09_2.png, b/x_09_3.png, b/x_09_é.png; all suggested as x.
IMAGES = {
    "a/1.png": ("one", "x"),
    "a/2.png": ("two", "x"),
    "b/3.png": ("three", "x"),
    "b/é.png": ("four", "x"),
}
LEFT = {path: ("open", path[0]) for path in IMAGES}
RIGHT_1, RIGHT_2 = {"a/1.png": ("correct", "a")}, {"a/2.png": ("correct", "a")}
RIGHT_A = RIGHT_1 | RIGHT_2
RIGHT_B = {"b/3.png": ("correct", "b"), "b/é.png": ("correct", "b")}
ONE_IN_B = {"a/1.png": ("relabel", "b")}
A_IN_B = {"a/1.png": ("relabel", "b"), "a/2.png": ("relabel", "b")}
DONE_A = {"a/1.png": ("relabel", "x"), "a/2.png": ("relabel", "x")}
DONE_B = {"b/3.png": ("relabel", "x"), "b/é.png": ("relabel", "x")}
A_NEW = {"a/1.png": ("relabel", "new class"), "a/2.png": ("relabel", "new class")}


def dupes_in(dataset: Path, images: dict[str, tuple[str, str]]) -> list[Suspect]:
    """Writes a file for each path (content, suggested label) and describes it as a dupe."""
    dupes = []
    for number, (path, (content, suggested)) in enumerate(images.items(), 1):
        file = real_path(dataset, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        given_label = path.partition("/")[0]
        dupes.append(Suspect(number, path, digest_file(file), given_label, suggested, 9, 1.5, 0.1, 0.8))
    return dupes


def make_tree(folder: Path) -> Path:
    dupes = dupes_in(folder / "data", {unicodedata.normalize("NFC", k): v for k, v in IMAGES.items()})
    manifest = plan_tree(dupes, ["a", "b", "x"], round_number=1, pairs=10, created="")
    write_tree(manifest, folder / "data", folder / "tree")
    return folder / "tree"


def check(tree: Path, expected: dict[str, tuple[str, str]]) -> list[str]:
    """The tree says what is expected; returns what after.txt should hold."""
    review = read_tree(tree, tree_manifest(tree)).review
    assert {v.file.original: (v.verdict, v.label) for v in review.verdicts} == {**LEFT, **expected}
    return left(review)


def left(review: Review) -> list[str]:
    return sorted((v.now_at for v in review.verdicts if v.now_at), key=str.encode)


@contextlib.contextmanager
def watching(
    tree: Path, *options: str, said: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A real `dupekit watch`, which has taken its first look."""
    (tree / MARKER / "after.txt").unlink(missing_ok=True)
    command = [sys.executable, "-m", "dupekit", "watch", str(tree), *options]
    with subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            until(lambda: process.poll() is not None or (tree / MARKER / "after.txt").exists())
            assert process.poll() is None
            yield process
        finally:
            process.kill()


def renew(tree: Path, fresh: Path) -> None:
    """Puts everything back but the marker, in which the watcher writes."""
    for path in tree.iterdir():
        if path.name != MARKER:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in fresh.iterdir():
        if path.name != MARKER:
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, tree / path.name)
    for name in ("away", "none", "copy", "t.tar", "t.zip"):
        left = tree.parent / name
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
