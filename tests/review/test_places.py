"""`_done`, `_right` and the others where they are not meant, in trees old and new, as `collect` reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.ledger import Ledger, exports
from dupekit.project import Project
from dupekit.review.manifest import ExportedFile, Manifest
from dupekit.review.places import Place, Places
from dupekit.review.verdicts import read_tree
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.workflow.collect import all_finished
from tests.review.trees import dupes_in
from tests.reviewed import exported_project

IMAGES = {
    "a/1.bmp": "b",
    "a/sub/2.bmp": "b",
    "_done/3.bmp": "b",
    "_right/4.bmp": "a",
    "b/5.bmp": "a",
    "b/_done/6.bmp": "a",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return exported_project(tmp_path, IMAGES)


def said(project: Project, **options: object) -> dict[str, tuple[str, str]]:
    found = project.collect(confirm=lambda _: True, **options)
    return {v.file.original: (v.verdict, v.label) for v in found.review.verdicts if v.verdict != "open"}


def move(source: str, target: str) -> Callable[[Path], None]:
    def do(tree: Path) -> None:
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        (tree / source).rename(tree / target)

    return do


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        (move("_done (2)", "_done/_done (2)"), {"_done/3.bmp": ("relabel", "b")}),
        (move("_right (2)", "_done/_right (2)"), {"_right/4.bmp": ("relabel", "a")}),
        (move("a/b_01_1.bmp", "_done (2)/x.bmp"), {"a/1.bmp": ("relabel", "_done")}),
        (move("b/_done (2)", "_done/_done (2)"), {"b/_done/6.bmp": ("relabel", "_done")}),  # a class's folder
        (move("b", "_done/b"), {"b/5.bmp": ("relabel", "a"), "b/_done/6.bmp": ("relabel", "a")}),
        (move("a/sub", "_done/sub"), {"a/sub/2.bmp": ("relabel", "b")}),
        (move("a", "_done/_done/a"), {"a/1.bmp": ("relabel", "b"), "a/sub/2.bmp": ("relabel", "b")}),
        (move("a/b_01_1.bmp", "b/_right/deeper/x.bmp"), {"a/1.bmp": ("correct", "a")}),
        (move("a/b_01_1.bmp", "_done/_unsure/x.bmp"), {"a/1.bmp": ("unsure", "a")}),
        (move("a/b_01_1.bmp", "_expunge/_done/a/x.bmp"), {"a/1.bmp": ("relabel", "b")}),
        (move("a/b_01_1.bmp", ".kept/_done/a/x.bmp"), {"a/1.bmp": ("unsure", "a")}),
    ],
)
def test_classes_that_are_called_so_have_another_folder(
    project: Project, tmp_path: Path, do, expected
) -> None:
    do(tmp_path / "tree")
    assert said(project) == expected


def test_in_an_old_tree_such_a_class_kept_its_name() -> None:
    paths = {"_done/1": "_done", "b/_right/2": "b", "b/3": "b"}
    files = [
        ExportedFile(path=path, original=path, given=given, suggested="c", votes=1, score=1, digest="0" * 64)
        for path, given in paths.items()
    ]
    folders = {name: name for name in ("_done", "b", "c")}
    places = Places(Manifest(export="x", round=1, pairs=1, created="", folders=folders, files=files))
    assert places.of("b/_done/3") == Place(
        False, None, "b/_done/3"
    )  # the class is meant, and a folder below b
    assert places.of("b/_right/2") == Place(False, None, "b/_right/2")
    assert places.of("_right/b/_right/2") == Place(False, "_right", "b/_right/2")
    assert places.of("c/_RIGHT/3") == Place(False, "_right", "3")
    assert places.label("_done") == "_done"


def test_a_file_in_done_that_was_never_exported_is_a_stranger(project: Project, tmp_path: Path) -> None:
    (tmp_path / "tree/_done/notes.txt").write_text("mine")
    (tmp_path / "tree/_done/x.bmp").write_bytes((project.dataset / "a/1.bmp").read_bytes())
    found = project.collect()
    assert (found.changed, found.review.strangers) == ([], ["_done/notes.txt", "_done/x.bmp"])


def test_what_lies_in_the_marker_is_unsure_and_said(project: Project, tmp_path: Path) -> None:
    move("a", ".dupekit/a")(tmp_path / "tree")
    found = project.collect()
    assert {v.file.original for v in found.changed if v.verdict == "unsure"} == {"a/1.bmp", "a/sub/2.bmp"}
    (remark,) = found.remarks
    assert remark.startswith('No class can be called ".dupekit": what lies in that folder (2 images)')
    assert "Move it to where it belongs" in remark


@pytest.mark.parametrize("deleted", [None, "b/c_09_twin.png"])
def test_equal_images_of_two_classes_that_are_done_stay_in_their_classes(tmp_path: Path, deleted) -> None:
    """Whatever the order of the manifest, and where one of them was deleted."""
    dupes = dupes_in(tmp_path / "data", {"b/twin.png": ("same", "c"), "a/twin.png": ("same", "c")})
    manifest = plan_tree(dupes, ["a", "b", "c"], round_number=1, pairs=10, created="")
    tree = tmp_path / "tree"
    write_tree(manifest, tmp_path / "data", tree)
    if deleted:
        (tree / deleted).unlink()
    for folder in "ab":
        move(folder, f"_done/{folder}")(tree)
    found = read_tree(tree, manifest).review
    assert [(v.verdict, v.label) for v in found.verdicts] == [
        ("correct", "b") if deleted else ("relabel", "c"),
        ("relabel", "c"),
    ]


def test_a_finished_class_is_remembered_as_long_as_that_stands(project: Project, tmp_path: Path) -> None:
    assert project.collect().changed == []
    assert project.history() == []  # silence is no row
    assert said(project, finished=["b", "_done (2)"]) == {
        "b/5.bmp": ("relabel", "a"), "b/_done/6.bmp": ("relabel", "a"), "_done/3.bmp": ("relabel", "b"),
    }  # fmt: skip
    assert project.collect().finished == ["_done", "b"]
    assert (project.collect().changed, len(project.collect().open)) == ([], 3)
    project.undo()
    assert project.collect().finished == []
    assert len(project.collect().open) == 6


def test_what_is_open_again_is_taken_back(project: Project, tmp_path: Path) -> None:
    move("a", "_done/a")(tmp_path / "tree")
    project.collect()
    move("_done/a", "a")(tmp_path / "tree")
    assert [(v.verdict, v.label) for v in project.collect().changed] == [("open", "a")] * 2
    assert project.status().verdicts == {}


def test_a_tree_that_was_called_back_still_counts_and_says_so(project: Project, tmp_path: Path) -> None:
    with Ledger(project.path / "ledger.db") as ledger:
        exports.withdraw(ledger, project.tree()[0].number)
    found = project.collect(finished=all_finished)
    assert len(found.changed) == 6
    assert found.remarks[0].startswith("This tree was called back.")
