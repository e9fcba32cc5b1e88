"""Reading `.dupekit/reference/`, which others can write to: nothing outside is opened, and nothing in it harms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dupekit.review.listing import list_tree
from dupekit.review.manifest import MARKER
from dupekit.review.reference_index import (
    Beside,
    ReferenceIndex,
    ReferenceThumbnail,
    read_index,
    read_thumbnail,
    reference_folder,
    write_index,
)

NAME = "0123456789abcdef.webp"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = reference_folder(tmp_path / "tree")
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"a picture")
    picture = ReferenceThumbnail(file=NAME, label="a<b>", confirmed=True, width=30, height=40)
    beside = Beside(given=[0], suggested=[], alike=[0])
    write_index(
        folder, ReferenceIndex(thumbnails=[picture], classes={"a<b>": [0]}, beside={"a_b_/x.png": beside})
    )
    return tmp_path / "tree"


def changed(tree: Path, change: Any) -> None:
    file = reference_folder(tree) / "index.json"
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))


def test_what_was_written_is_read(tree: Path) -> None:
    found = read_index(tree)
    assert found is not None
    assert found.thumbnails[0].label == "a<b>"
    assert found.beside["a_b_/x.png"].alike == [0]
    assert read_thumbnail(tree, NAME) == b"a picture"


def test_a_tree_without_it_has_none(tree: Path) -> None:
    for file in reference_folder(tree).iterdir():
        file.unlink()
    assert read_index(tree) is None
    assert read_thumbnail(tree, NAME) is None
    reference_folder(tree).rmdir()
    assert read_index(tree) is None
    assert read_thumbnail(tree, NAME) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["thumbnails"][0].update(file="../manifest.json"),
        lambda c: c["thumbnails"][0].update(file="/etc/passwd"),
        lambda c: c["thumbnails"][0].update(file=f"{NAME}\n"),
        lambda c: c["thumbnails"][0].update(file="0123456789ABCDEF.webp"),
        lambda c: c["thumbnails"][0].update(width=0),
        lambda c: c["thumbnails"][0].update(more=1),
        lambda c: c.update(schema="dupekit/reference/2"),
        lambda c: c.update(more=1),
        lambda c: c["classes"].update(b=[1]),
        lambda c: c["classes"].update(b=[-1]),
        lambda c: c["beside"]["a_b_/x.png"].update(alike=[7]),
        lambda c: c.pop("thumbnails"),
    ],
)
def test_an_index_that_says_what_cannot_be_is_none(tree: Path, change: Any) -> None:
    assert read_index(tree) is not None
    changed(tree, change)
    assert read_index(tree) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_an_index_that_is_damaged_is_none(tree: Path, content: bytes) -> None:
    (reference_folder(tree) / "index.json").write_bytes(content)
    assert read_index(tree) is None


@pytest.mark.parametrize(
    "name",
    [
        "index.json",
        "../manifest.json",
        "..",
        "",
        "a/b.webp",
        "/etc/passwd",
        f"./{NAME}",
        f"{NAME}\n",
        "x.webp",
    ],
)
def test_pictures_are_opened_by_their_own_names_only(tree: Path, name: str) -> None:
    assert read_thumbnail(tree, name) is None


def test_no_link_is_followed(tree: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the page")
    folder = reference_folder(tree)
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(secret)
    assert read_thumbnail(tree, NAME) is None
    index = folder / "index.json"
    index.rename(tmp_path / "index.json")
    index.symlink_to(tmp_path / "index.json")
    assert read_index(tree) is None
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    (elsewhere / NAME).unlink()
    (elsewhere / NAME).write_bytes(b"a picture")
    folder.symlink_to(elsewhere)
    assert read_thumbnail(tree, NAME) is None
    assert read_index(tree) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in the file system")
def test_a_pipe_is_not_waited_for(tree: Path) -> None:
    (reference_folder(tree) / NAME).unlink()
    os.mkfifo(reference_folder(tree) / NAME)
    assert read_thumbnail(tree, NAME) is None


def test_what_is_far_too_large_is_not_read(tree: Path) -> None:
    with (reference_folder(tree) / NAME).open("wb") as file:
        file.truncate(2**20 + 1)
    assert read_thumbnail(tree, NAME) is None


def test_a_listing_passes_over_it_and_sees_what_does_not_belong_there(tree: Path) -> None:
    folder = reference_folder(tree)
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "copepod_09_x.png").write_bytes(b"an image that slipped in")
    (folder / "sub").mkdir()
    (folder / "sub" / NAME).write_bytes(b"")
    (tree / MARKER / NAME).write_bytes(b"")
    (folder / "link").symlink_to("/etc")
    found = list_tree(tree)
    assert sorted(found.files) == [
        f"{MARKER}/{NAME}",
        f"{MARKER}/reference/copepod_09_x.png",
        f"{MARKER}/reference/sub/{NAME}",
    ]
    assert found.folders == frozenset()
