"""Reference sheets: alone and to print, and in short in a review tree's own page."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from dupekit.errors import NothingToDo
from dupekit.pictures import sheets as pages
from dupekit.pictures.gallery import Gallery, Picture
from dupekit.pictures.sheets import Look, Sheet, section, write_sheets
from dupekit.pictures.templates import MARK
from dupekit.pictures.thumbnails import Thumbnail
from dupekit.project import Project
from dupekit.review.manifest import READ_ME
from dupekit.rounds.references import Reference
from dupekit.workflow.selection import Selection
from tests.browser import HOSTILE
from tests.pictures.reports import picture_file
from tests.support import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

VOID = {"meta", "img", "wbr"}


class Parsed(HTMLParser):
    """Parses a page strictly: every element is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[tuple[str, str]] = []
        """Alternative text and address."""
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "img":
            self.images.append((found["alt"] or "", found["src"] or ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def made_up(folder: Path, labels: list[str]) -> list[Sheet]:
    rng = np.random.default_rng(0)
    typical = {}
    for at, label in enumerate(labels):
        pictures = [picture_file(folder, 20 * at + number, rng) for number in range(12)]
        typical[label] = [Reference(0, path, digest, label, True, 0.9) for path, digest in pictures]
    return [
        Sheet(label, 20, typical[label], [Look(other, 0.2, typical[other][:4]) for other in labels if other != label][:4])
        for label in labels
    ]  # fmt: skip


def test_a_sheet_a_class_shows_it_and_what_it_is_confused_with(trained: Project) -> None:
    made = trained.class_sheets()
    assert made.file == trained.path / "rounds" / "01" / "classes.html"
    assert (made.classes, made.without_images, made.unreadable) == (3, 0, 0)
    content = made.file.read_bytes()
    assert content.startswith(MARK)
    page = Parsed(content.decode())
    assert page.tags.count("section") == 3
    assert "script" not in page.tags
    assert all(uri.startswith("data:image/webp;base64,") for _, uri in page.images)
    for label in CLASSES:
        shown = re.search(rf'<h2><span class="name">{label}</span>.*?</section>', content.decode(), re.DOTALL)
        assert shown
        own, _, others = shown[0].partition("Do not confuse it with")
        assert {alt for alt, _ in Parsed(f"<section>{own[: own.rindex('</div>') + 6]}</section>").images} == {
            label
        }
        assert f'alt="{label}"' not in others


def test_names_that_are_markup_stay_text(tmp_path: Path) -> None:
    labels = [*HOSTILE, "</style><b>"]
    with (tmp_path / "sheets.html").open("wb") as out:
        write_sheets(out, made_up(tmp_path, labels), Gallery(tmp_path), title=HOSTILE[0])
    page = Parsed((tmp_path / "sheets.html").read_text())
    assert not {"script", "svg"} & set(page.tags)
    assert {alt for alt, _ in page.images} == set(labels)
    short = Parsed(section(made_up(tmp_path, labels), Gallery(tmp_path), limit_bytes=10**7))
    assert set(short.tags) == {"h2", "p", "div", "h3", "img", "b", "wbr"}
    assert {alt for alt, _ in short.images} == set(labels)


def test_sheets_in_short_stay_within_their_size_or_are_not_there(tmp_path: Path) -> None:
    sheets, gallery = made_up(tmp_path, ["a", "b", "c"]), Gallery(tmp_path)
    full = section(sheets, gallery, limit_bytes=10**7)
    assert full.count('alt="a"') == 5 + 3 + 3
    limit = len(full.encode()) * 4 // 5
    less = section(sheets, gallery, limit_bytes=limit)
    assert len(less.encode()) <= limit
    assert less.count('alt="a"') == 4 + 2 + 2
    assert section(sheets, gallery, limit_bytes=1000) == ""
    assert section([Sheet("a", 0, [], [])], gallery, limit_bytes=10**7) == ""


def test_an_image_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    sheets = made_up(tmp_path, ["a", "b"])
    (tmp_path / "0000.png").unlink()
    with (tmp_path / "sheets.html").open("wb") as out:
        assert write_sheets(out, sheets, Gallery(tmp_path), title="t") == 1
    alone = [alt for alt, _ in Parsed((tmp_path / "sheets.html").read_text()).images]
    assert (alone.count("a"), alone.count("b")) == (11 + 3, 12 + 4)


def test_a_trees_page_shows_its_classes_but_none_of_its_images(trained: Project) -> None:
    exported = trained.export(selection=Selection(everything=True))
    text = (exported.tree / READ_ME).read_text(encoding="utf-8")
    page = Parsed(text)
    labels = {label for file in exported.manifest.files for label in (file.given, file.suggested)}
    assert {alt for alt, _ in page.images} >= labels
    assert 'id="looks"' in text
    # A technician would else see there what others decided.
    gallery = Gallery(trained.dataset)
    inside = [Picture(file.original, file.digest) for file in exported.manifest.files]
    for one in gallery.thumbnails(inside, side_px=112):
        assert isinstance(one, Thumbnail)
        assert one.uri not in text


def test_a_tree_without_them_is_exported_all_the_same(
    trained: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("no pictures today")

    monkeypatch.setattr("dupekit.pictures.sheets.section", broken)
    tree = trained.export().tree
    text = (tree / READ_ME).read_text(encoding="utf-8")
    assert "looks" not in text
    assert "<img" not in text
    assert "no pictures today" in caplog.text


def test_without_a_round_there_are_none(project: Project) -> None:
    with pytest.raises(NothingToDo, match="No round"):
        project.class_sheets()


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("pdfinfo") is None, reason="pdfinfo (poppler-utils) counts the pages")
def test_each_class_is_printed_on_a_page_of_its_own(
    trained: Project, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(trained.class_sheets().file.as_uri())
    page.pdf(path=tmp_path / "sheets.pdf", prefer_css_page_size=True)
    said = subprocess.run(
        ["pdfinfo", tmp_path / "sheets.pdf"], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"Pages: +4\n", said)  # the index, and three classes
    assert "A4" in said


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("pdfinfo") is None, reason="pdfinfo (poppler-utils) counts the pages")
def test_long_names_break_after_an_underline_and_take_no_second_page(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    labels = [f"{letter}hydromedusae_shapeA_sideview_" + "Name_of_a_Class_" * 10 for letter in "abcde"]
    with (tmp_path / "sheets.html").open("wb") as out:
        write_sheets(out, made_up(tmp_path, labels), Gallery(tmp_path), title="t")
    page = open_page((tmp_path / "sheets.html").as_uri())
    ends = page.locator(".index .name").first.evaluate(
        """name => {
          const lines = new Map(), range = document.createRange();
          for (const node of [...name.childNodes].filter(one => one.nodeType === Node.TEXT_NODE)) {
            for (let at = 0; at < node.length; at += 1) {
              range.setStart(node, at);
              range.setEnd(node, at + 1);
              lines.set(Math.round(range.getBoundingClientRect().top), node.data[at]);
            }
          }
          return [...lines.values()];
        }"""
    )
    assert len(ends) > 2
    assert set(ends) == {"_"}
    page.pdf(path=tmp_path / "sheets.pdf", prefer_css_page_size=True)
    said = subprocess.run(
        ["pdfinfo", tmp_path / "sheets.pdf"], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"Pages: +6\n", said)


def test_photos_are_shrunk_before_the_page_grows_too_large(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    made = made_up(tmp_path, ["a", "b"])
    for file in tmp_path.glob("*.png"):
        Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(file)

    def fresh(found: list[Reference]) -> list[Reference]:
        return [
            replace(one, digest=hashlib.sha256((tmp_path / one.path).read_bytes()).hexdigest())
            for one in found
        ]

    made = [Sheet(s.label, s.images, fresh(list(s.typical)),
                  [Look(x.label, x.share, fresh(list(x.typical))) for x in s.confused]) for s in made]  # fmt: skip
    out = tmp_path / "sheets.html"
    with pytest.MonkeyPatch.context() as patch, out.open("wb") as opened:
        write_sheets(opened, made, Gallery(tmp_path), title="t")
        large = opened.tell()
        patch.setattr(pages, "BUDGET", large // 2)
        opened.seek(0)
        opened.truncate()
        write_sheets(opened, made, Gallery(tmp_path), title="t")
        assert opened.tell() < large * 0.7
