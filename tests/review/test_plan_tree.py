"""How files and folders of a tree are called, where classes are called like what the tree keeps for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from dupekit.files.paths import real_path
from dupekit.review.manifest import MARKER, SPECIAL
from dupekit.review.style import Order, Stratum, Style
from dupekit.review.verdicts import Verdict, read_tree
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import dupes_in

CALLED_SO = [*SPECIAL, "_DONE", "_Right"]


@pytest.mark.parametrize("name", CALLED_SO)
@pytest.mark.parametrize("style", [Style(), Style(Order.RANK)])
def test_a_class_or_sub_folder_called_like_a_special_folder_gets_another_name(
    tmp_path: Path, name: str, style: Style
) -> None:
    images = {
        f"{name}/1.png": ("one", "a"),
        f"a/{name}/2.png": ("two", name),
        f"a/b/{name}/3.png": ("three", "b"),
    }
    manifest = plan_tree(
        dupes_in(tmp_path / "data", images),
        [name, "a", "b"],
        round_number=1,
        pairs=10,
        created="",
        style=style,
    )
    tree = tmp_path / "tree"
    manifest = write_tree(manifest, tmp_path / "data", tree)
    folders = {part.casefold() for file in manifest.files for part in file.path.split("/")[:-1]}
    assert not folders & set(SPECIAL)
    assert {path.name for path in tree.iterdir() if path.is_dir()} == {*SPECIAL, *manifest.folders, MARKER}
    assert {v.verdict for v in read_tree(tree, manifest).review.verdicts} == {Verdict.OPEN}
    # What is moved means what it says: into the class of that name, or into the special folder.
    (home,) = (folder for folder, label in manifest.folders.items() if label == name)
    one, two, three = manifest.files
    for file, folder in ((one, "_done"), (two, home), (three, "_right")):
        real_path(tree, file.path).rename(tree / folder / Path(file.path).name)
    assert {v.file.original: (v.verdict, v.label) for v in read_tree(tree, manifest).review.verdicts} == {
        one.original: (Verdict.RELABEL, "a"),
        two.original: (Verdict.RELABEL, name),
        three.original: (Verdict.CORRECT, "a"),
    }


def test_ranks_are_as_wide_as_the_last_and_long_names_keep_them(tmp_path: Path) -> None:
    images = {f"a/{'x' * 240}{number:03d}.png": (f"{number}", "b") for number in range(100)}
    suspects = dupes_in(tmp_path / "data", images)
    manifest = plan_tree(suspects, ["a", "b"], round_number=1, pairs=10, created="", style=Style(Order.RANK))
    for rank, file in enumerate(manifest.files, 1):
        name = file.path.removeprefix("a/")
        assert name.startswith(f"{rank:03d}_b_09_x")
        assert (len(name), name[-4:]) == (255, ".png")


def test_enlarged_copies_are_called_png_and_twins_are_numbered(tmp_path: Path) -> None:
    images = {
        "a/1.jpg": ("one", "b"),
        "a/1.tif": ("two", "b"),
        "a/1.x.PNG": ("three", "b"),
        "a/.1": ("four", "b"),
    }
    suspects = dupes_in(tmp_path / "data", images)
    manifest = plan_tree(suspects, ["a", "b"], round_number=1, pairs=10, created="", style=Style(enlarge=2))
    assert [file.path for file in manifest.files] == [
        "a/b_09_1.png", "a/b_09_1 (2).png", "a/b_09_1.x.png", "a/b_09_.png",
    ]  # fmt: skip
    assert manifest.enlarged == 2


def test_strata_are_of_the_images_that_were_drawn(tmp_path: Path) -> None:
    suspects = dupes_in(tmp_path / "data", {f"a/{number}.png": (f"{number}", "b") for number in range(3)})
    drawn = {suspects[1].image: Stratum(2, 500)}
    manifest = plan_tree(suspects, ["a", "b"], round_number=1, pairs=10, created="", drawn=drawn)
    assert [(file.stratum, file.population) for file in manifest.files] == [
        (None, None),
        (2, 500),
        (None, None),
    ]
