"""The report's file: whole, alone, within its size, and with names that are markup as text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dupekit.pictures.gallery import SIDES, Gallery, Picture
from dupekit.pictures.report import BLOCK, similar_order
from dupekit.pictures.templates import MARK
from dupekit.pictures.thumbnails import Thumbnail
from tests.browser import HOSTILE
from tests.pictures.reports import made_up, written

LABELS = ["amoeba", "ciliate", "diatom"]


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def lines_of(text: str) -> list[str]:
    blocks = re.findall(r'<script type="text/plain" id="pictures-(\d+)">(.*?)</script>', text, re.DOTALL)
    assert [int(number) for number, _ in blocks] == list(range(len(blocks)))
    return [line for _, block in blocks for line in block.split("\n")]


def test_the_page_stands_alone_and_its_policy_names_its_own_style_and_script(tmp_path: Path) -> None:
    page = written(tmp_path, made_up(tmp_path, suspects=5, labels=LABELS, images=20))
    assert page.read_bytes().startswith(MARK)
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    allowed = html.unescape(policy[1])
    assert "default-src 'none'" in allowed
    assert "unsafe" not in allowed
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in allowed
    assert not re.search(r'\b(?:src|href|action)="', text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_holds_each_picture_once_in_the_order_of_first_use(tmp_path: Path) -> None:
    text = written(tmp_path, made_up(tmp_path, suspects=900, labels=LABELS, images=300)).read_text()
    data, lines = data_of(text), lines_of(text)
    assert len(lines) == len(set(lines)) == data["pictures"] == 300
    assert data["suspects"][0][0] == 0
    first_screen = [number for row in data["suspects"][:20] for number in (row[0], *row[9], *row[10])]
    assert max(first_screen) < BLOCK  # it waits for no further block
    assert text.index('id="pictures-0"') < text.index('"use strict"') < text.index('id="pictures-1"')
    width, height, content = lines[0].split(" ")
    assert int(width) >= int(height) >= 20
    assert base64.b64decode(content)[8:12] == b"WEBP"


@pytest.mark.parametrize(
    "name", [*HOSTILE, "</script><script>alert(1)</script>", "a\u2028b\u2029c", "\\xff\\n"]
)
def test_names_that_are_markup_stay_text(tmp_path: Path, name: str) -> None:
    values = made_up(tmp_path, suspects=3, labels=[name, "other"], images=5)
    values = replace(values, title=name, dataset=name)
    text = written(tmp_path, values).read_text(encoding="utf-8")
    data = data_of(text)
    assert data["labels"] == sorted([name, "other"])
    assert data["title"] == data["dataset"] == name
    # The page's own elements, and no other.
    assert text.count("<script") == text.count("</script") == 3
    block = text[text.index('id="data">') : text.index('id="pictures-0"')]
    assert not {"\u2028", "\u2029"} & set(block)


def test_an_image_that_cannot_be_shown_has_the_reason_in_its_place(tmp_path: Path) -> None:
    values = made_up(tmp_path, suspects=4, labels=LABELS, images=4)
    (tmp_path / "0000.png").unlink()
    (tmp_path / "0001.png").write_bytes(b"another")
    broken = values.suspects[2].suspect
    (tmp_path / broken.path).write_bytes(b"<script>")
    digest = hashlib.sha256(b"<script>").hexdigest()
    row = replace(values.suspects[2], suspect=replace(broken, digest=digest))
    values = replace(values, suspects=[*values.suspects[:2], row, values.suspects[3]])
    text = written(tmp_path, values).read_text()
    numbers = [row[0] for row in data_of(text)["suspects"]]
    lines = lines_of(text)
    assert lines[numbers[0]] == " The file is gone."
    assert lines[numbers[1]] == " The file holds another image now."
    assert lines[numbers[3]].split(" ")[0].isdigit()


def test_thumbnails_shrink_until_all_of_them_fit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    from PIL import Image

    pictures = []
    for number in range(30):
        file = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(file)
        pictures.append(Picture(file.name, hashlib.sha256(file.read_bytes()).hexdigest()))
    gallery = Gallery(tmp_path)

    def total(side: int) -> int:
        made = gallery.thumbnails(pictures, side_px=side)
        return sum(len(one.content) for one in made if isinstance(one, Thumbnail))

    assert gallery.side_px(pictures) == SIDES[0] == 160
    budget = total(104) + 1
    assert budget < total(128)
    assert gallery.side_px(pictures, budget=budget) == 104
    assert gallery.side_px(pictures, budget=1) == SIDES[-1]
    assert gallery.side_px([]) == SIDES[0]


def test_classes_that_are_confused_stand_side_by_side() -> None:
    group = np.array([0, 1, 2] * 8)
    counts = np.where(group[:, None] == group[None, :], 20, 0) + 1
    np.fill_diagonal(counts, 100)
    order = similar_order(counts)
    assert sorted(order.tolist()) == list(range(24))
    changes = (np.diff(group[order]) != 0).sum()
    assert changes == 2


@pytest.mark.parametrize("classes", [0, 1, 2])
def test_few_classes_have_an_order_too(classes: int) -> None:
    counts = np.zeros((classes, classes), np.int64)
    assert sorted(similar_order(counts).tolist()) == list(range(classes))
