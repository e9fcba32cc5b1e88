"""The page and the list of classes that lie in a review tree."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dupekit.files.names import escape
from dupekit.review.listing import list_tree
from dupekit.review.manifest import CLASSES, DONE, READ_ME, Manifest
from dupekit.review.read_me import page as page_of
from dupekit.review.verdicts import Verdict, read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import dupes_in, make_tree, watching
from tests.support import until

ODD = [
    '<script>alert("&amp;")</script>', "$images ${pairs} $", "a&b", "Ünïcode", "x\u202egpj.exe", escape("\udcff"),
    READ_ME, CLASSES, DONE, "_right",
]  # fmt: skip
VOID = {"meta"}  # all that the page needs


class Page(HTMLParser):
    """Parses a page strictly: every element is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.items: list[str] = []
        """What the list of classes says, an item each."""
        self._in_classes = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        self._in_classes = dict(attrs).get("class") == "list" if tag == "ul" else self._in_classes
        if tag == "li" and self._in_classes:
            self.items.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self._in_classes and "li" in self.open:
            self.items[-1] += data


@pytest.fixture
def odd(tmp_path: Path) -> tuple[Path, Manifest]:
    """A tree of classes with names that HTML, a template, a terminal or the tree itself may take for something else."""
    suspects = dupes_in(tmp_path / "data", {"a&b/1.png": ("one", "Ünïcode"), "a&b/2.png": ("two", READ_ME)})
    manifest = plan_tree(suspects, ODD, round_number=1, pairs=7, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    return tmp_path / "tree", manifest


def test_the_page_is_whole_and_needs_nothing_else(odd) -> None:
    tree, manifest = odd
    text = (tree / READ_ME).read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert not page.open
    assert ("meta", {"charset": "utf-8"}) in page.seen
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert "url(" not in text
    assert "@import" not in text
    ids = [attrs["id"] for _, attrs in page.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.seen:
        assert not [name for name in attrs if name.startswith("on") or name == "src"], tag
        assert attrs.get("href") is None or attrs["href"].removeprefix("#") in ids, tag
    assert [tag for tag, _ in page.seen].count("svg") == 4
    assert (
        "<b>2 images</b> in <b>1 class folder</b>. The computer looked at each image <b>7 times</b>." in text
    )
    larger = manifest.model_copy(update={"enlarged": 3})
    assert "The copies are <b>3 times</b> as large." in page_of(larger)
    assert "no votes" not in text
    drawn = [replace(manifest.files[0], stratum=0, population=9), *manifest.files[1:]]
    assert "The names here hold <b>no votes</b>." in page_of(manifest.model_copy(update={"files": drawn}))


def test_page_and_list_name_every_class(odd) -> None:
    tree, _ = odd
    listed = (tree / CLASSES).read_text(encoding="utf-8")
    folders = listed.splitlines()
    assert listed == "".join(f"{name}\n" for name in folders)
    assert set(folders) == set(tree_manifest(tree).folders)
    assert {"_READ_ME (2).html", "_classes (2).txt", "_done (2)"} < set(
        folders
    )  # the tree's own names are taken
    assert set(Page((tree / READ_ME).read_text(encoding="utf-8")).items) == {
        '_script_alert(_&amp;_)__script_ (<script>alert("&amp;")</script>) ', "$images ${pairs} $ ", "a&b 2",
        "Ünïcode ", "x\\u202egpj.exe ", "_ (\\xff) ", "_READ_ME (2).html (_READ_ME.html) ",
        "_classes (2).txt (_classes.txt) ", "_done (2) (_done) ", "_right (2) (_right) ",
    }  # fmt: skip


def test_they_are_no_part_of_what_is_reviewed(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    assert {READ_ME, CLASSES} <= {path.name for path in tree.iterdir()}
    review = read_tree(tree, tree_manifest(tree)).review
    assert review.strangers == []
    assert len(review.verdicts) == 4

    (tree / READ_ME).write_text("edited")
    (tree / CLASSES).rename(tree / CLASSES.upper())  # as by a file server
    assert read_tree(tree, tree_manifest(tree)).review == review
    (tree / READ_ME).rename(tree / "a" / READ_ME)
    (tree / DONE / CLASSES).write_text("a copy")
    assert read_tree(tree, tree_manifest(tree)).review.strangers == [f"{DONE}/{CLASSES}", f"a/{READ_ME}"]
    for path in (tree / "a" / READ_ME, tree / DONE / CLASSES, tree / CLASSES.upper()):
        path.unlink()
    assert read_tree(tree, tree_manifest(tree)).review == review  # as in trees of an earlier dupekit


def test_a_folder_of_such_a_name_is_a_folder(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    (tree / READ_ME).unlink()
    (tree / READ_ME).mkdir()
    (tree / "a" / "x_09_1.png").rename(tree / READ_ME / "x_09_1.png")
    assert f"{READ_ME}/x_09_1.png" in list_tree(tree).files


def test_a_watcher_counts_nothing_of_them(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    with watching(tree):
        (tree / READ_ME).unlink()
        (tree / CLASSES).write_text("mine")
        (tree / "a" / "x_09_1.png").unlink()
        until(lambda: "x_09_1" not in (tree / ".dupekit" / "after.txt").read_text())
    review = read_tree(tree, tree_manifest(tree)).review
    assert [v.file.original for v in review.verdicts if v.verdict == Verdict.CORRECT] == ["a/1.png"]
    assert review.strangers == []
