"""images.npz: what is written is read, by NumPy too; and what is damaged is refused in words."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupekit.dataset.columns import DigestColumn, TextColumn
from dupekit.errors import JobError
from dupekit.files.arrays import write_arrays
from dupekit.jobs.images import RoundImages, read_images, write_images
from tests.support import lists_of

PATHS = ["copepod/a.png", "copepod/ä.png", "diatom/漢字.png", "diatom/x/y.png"]
IMAGES = RoundImages(
    dataset="/data/plankton",
    classes=["copepod", "diatom"],
    folders=None,
    ids=np.array([3, 4, 7, 2**40], np.int64),
    paths=TextColumn.of(PATHS),
    digests=DigestColumn.of([sha256(path.encode()).hexdigest() for path in PATHS]),
    sizes=np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.int32),
    labels=np.array([0, 0, 1, 1], np.int32),
)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        replace(IMAGES, groups=np.array([0, 0, 2, 3]), folders=["a", "b"]),
        replace(IMAGES, paths=TextColumn.of(["before", *PATHS])[1:]),
        replace(IMAGES, **{name: getattr(IMAGES, name)[:0] for name in ("ids", "paths", "digests", "sizes", "labels")}),
    ],
    ids=["plain", "groups and folders", "part of a column", "empty"],
)  # fmt: skip
def test_what_is_written_is_read(tmp_path: Path, images: RoundImages) -> None:
    file = tmp_path / "images.npz"
    write_images(file, images)
    found = lists_of(file)
    for field in fields(images):
        value = getattr(images, field.name)
        assert found[field.name] == (value.tolist() if isinstance(value, np.ndarray) else value) or found[
            field.name
        ] == list(value)
    with np.load(file) as arrays:
        assert json.loads(arrays["about"].tobytes())["schema"] == "dupekit/images/2"
        assert arrays["digests"].tobytes().hex() == "".join(images.digests)
        ends = arrays["path_ends"].tolist()
        paths = arrays["paths"].tobytes()
    starts = [0, *ends[:-1]]
    assert [paths[start:end].decode() for start, end in zip(starts, ends, strict=False)] == list(images.paths)


def test_what_was_read_stays_when_the_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    write_images(file, IMAGES)
    found = read_images(file)
    write_images(file, replace(IMAGES, paths=TextColumn.of(["x"] * 4), digests=IMAGES.digests[::-1]))
    assert (list(found.paths), list(found.digests)) == (PATHS, list(IMAGES.digests))


def test_a_row_is_found_by_its_number() -> None:
    assert [IMAGES.row(image) for image in (3, 4, 7, 2**40)] == [0, 1, 2, 3]
    for image in (0, 5, 2**40 + 1):
        with pytest.raises(ValueError, match=str(image)):
            IMAGES.row(image)


def _changed(**arrays: Any) -> Callable[[Path], None]:
    """Another array in the place of one, or none."""

    def change(file: Path) -> None:
        kept = {**IMAGES.arrays("/data"), **arrays}
        with file.open("wb") as out:
            write_arrays(out, {name: array for name, array in kept.items() if array is not None})

    return change


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:700])


def _compressed(file: Path) -> None:
    arrays = IMAGES.arrays("/data")
    np.savez_compressed(file, **arrays)


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(IMAGES.ids.tobytes())] ^= 1
    file.write_bytes(content)


def _shrunk(file: Path) -> None:
    """What its directory says of the paths lies behind the end of the file."""
    with zipfile.ZipFile(file) as archive:
        offset = archive.getinfo("paths.npy").header_offset
    content = file.read_bytes()
    shutil.copyfile(file, file.with_suffix(".whole"))
    file.write_bytes(content.replace(offset.to_bytes(4, "little"), (len(content) - 4).to_bytes(4, "little")))


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (lambda file: file.write_bytes(b""), "not a zip file"),
    "cut": (_cut, "not a zip file"),
    "compressed": (_compressed, "is compressed"),
    "a bit flipped": (_flipped, "CRC"),
    "an offset behind its end": (_shrunk, "is not valid"),
    "no labels": (_changed(labels=None), "labels"),
    "labels of another type": (_changed(labels=IMAGES.labels.astype(np.float32)), "labels is of type float32"),
    "pickles": (_changed(about=np.zeros(3, "<U4")), "about is of type"),
    "about nothing": (_changed(about=np.frombuffer(b"{", np.uint8)), "is not valid"),
    "another format": (_changed(about=np.frombuffer(b'{"schema": "x"}', np.uint8)), "is not valid"),
    "a label too many": (_changed(labels=np.zeros(5, np.int32)), "4 and 5 entries"),
    "a label of no class": (_changed(labels=np.array([0, 1, 2, 0], np.int32)), "none of its 2 classes"),
    "a label below 0": (_changed(labels=np.array([0, 1, -1, 0], np.int32)), "none of its 2 classes"),
    "ids twice": (_changed(ids=np.array([1, 2, 2, 3], np.int64)), "ids do not ascend"),
    "sizes of one side": (_changed(sizes=np.ones((4, 1), np.int32)), "sizes is of type"),
    "digests of hexadecimal digits": (_changed(digests=np.zeros((4, 64), np.uint8)), "digests is of type"),
    "ends that go back": (_changed(path_ends=np.array([5, 4, 9, 60])), "do not ascend"),
    "ends too early": (_changed(path_ends=np.array([1, 2, 3, 4])), "do not end"),
    "an end below 0": (_changed(path_ends=np.array([-1, 2, 3, 4])), "do not ascend"),
    "an end in a character": (_changed(path_ends=np.array([13, 22, 44, 58])), "within a character"),
    "no UTF-8": (_changed(paths=np.full(60, 0xFF, np.uint8), path_ends=np.array([1, 2, 3, 60])), "decode"),
    "groups of some": (_changed(groups=np.zeros(3, np.int64)), "3 and 4 entries"),
    "folders of some": (
        _changed(about=np.frombuffer(b'{"dataset": "d", "classes": ["a", "b"], "folders": ["a"]}', np.uint8)),
        "1 folders for 2 classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "images.npz"
    write_images(file, IMAGES)
    change, said = DAMAGED[damage]
    change(file)
    with pytest.raises(JobError) as caught:
        read_images(file)
    assert said in caught.value.message
    assert str(file) in caught.value.message


def test_images_json_of_an_older_dupekit_is_read(tmp_path: Path) -> None:
    lists = lists_of_first()
    (tmp_path / "images.json").write_text(json.dumps(lists))
    found = lists_of(tmp_path / "images.json")
    assert {name: found[name] for name in lists if name != "schema"} == {
        name: value for name, value in lists.items() if name != "schema"
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("digests", ["ab"] * 4), ("labels", [0, 0, 0]), ("ids", [1, 2, 3, 2**70]), ("sizes", [[1, 2**40]] * 4), ("paths", ["\ud800"] * 4)],
    ids=["digests", "labels", "ids", "sizes", "paths"],
)  # fmt: skip
def test_a_damaged_images_json_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / "images.json").write_text(json.dumps(lists_of_first() | {name: value}))
    with pytest.raises(JobError, match=r"images\.json is not valid: .*\.\n") as refused:
        read_images(tmp_path / "images.json")
    assert "pydantic" not in refused.value.message  # nor a link to its site


def lists_of_first() -> dict[str, Any]:
    return {
        "schema": "dupekit/images/1",
        "dataset": IMAGES.dataset,
        "classes": IMAGES.classes,
        "folders": None,
        "ids": IMAGES.ids.tolist(),
        "paths": PATHS,
        "digests": list(IMAGES.digests),
        "sizes": IMAGES.sizes.tolist(),
        "labels": IMAGES.labels.tolist(),
        "groups": [0, 0, 2, 3],
    }
