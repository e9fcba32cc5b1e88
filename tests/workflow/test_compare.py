"""A dataset and the ledger compared as two streams in one order: whatever changed, wherever a block ends."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from dupekit.dataset.scan import list_dataset
from dupekit.errors import DatasetError
from dupekit.files.names import escape
from dupekit.ledger import Ledger, images
from dupekit.project import Project
from tests.support import refusing

LABELS = ["a", "a b", "a!", "a0", "B", "é", "x\ny", "\U0001f41f"]
"""Sorted as folders of paths they stand in another order than as names."""
NAMES = ["1.png", "A.png", "b.png", "b/1.png", "b!/1.png", "ß\\.png", "\uffff.png", "\U0001f41f.png"]


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr("dupekit.ledger.images.BLOCK", 3)


def written(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_new_changed_and_gone_is_found_wherever_a_block_ends(
    tmp_path, small_blocks, seed: int
) -> None:
    data, draw = tmp_path / "data", random.Random(seed)
    every = [data / label / name for label in LABELS for name in NAMES]
    first = [file for file in every if draw.random() < 0.7]
    for file in first:
        written(file, "as it was")
    project = Project.create(data, tmp_path / "project")
    assert project.scan().read == len(first)
    new = [file for file in every if file not in first and draw.random() < 0.5]
    changed = [file for file in first if draw.random() < 0.3]
    gone = [file for file in first if file not in changed and (draw.random() < 0.3 or file.parts[-2] == "B")]
    for file in (*new, *changed):
        written(file, f"{file.name} is new")
    for file in gone:
        file.unlink()
    shutil.rmtree(data / "a0")
    lost = [file for file in (*first, *new) if file.is_relative_to(data / "a0")]
    found = project.scan()
    assert found.read == len({*new, *changed}.difference(lost))
    assert (found.changed, found.gone) == (
        len(set(changed).difference(lost)),
        len({*gone, *lost}.difference(new)),
    )
    again = project.scan()
    assert (again.read, again.gone) == (0, 0)
    assert project.scan(every=True).read == len(list_dataset(data).files)
    assert project.verify().differences == []


def test_all_comes_in_the_order_of_its_paths(tmp_path, small_blocks) -> None:
    paths = [f"{label}/{name}" for label in LABELS for name in NAMES]
    for path in paths:
        written(tmp_path / "data" / path, path)
    Project.create(tmp_path / "data", tmp_path / "project").scan()
    in_order = sorted(map(escape, paths), key=str.encode)
    assert [file.path for file in list_dataset(tmp_path / "data").files] == in_order
    with Ledger(tmp_path / "project/ledger.db") as ledger:
        assert [source.path for source in images.present(ledger)] == in_order
        of_classes = images.Readable.of(ledger)
        assert [source.path for sources in of_classes.values() for source in sources] == in_order
        assert [source.label for source in of_classes[escape("x\ny")]] == [escape("x\ny")] * len(NAMES)


def test_who_looks_at_a_million_files_keeps_nobody_from_recording(tmp_path, small_blocks) -> None:
    for path in ("a/1.png", "b/1.png", "b/2.png"):
        written(tmp_path / "data" / path, path)
    Project.create(tmp_path / "data", tmp_path / "project").scan()
    file = tmp_path / "project/ledger.db"
    with Ledger(file, read_only=True) as one, Ledger(file, timeout_s=0) as other:
        looked_at = images.present(one)
        next(looked_at)
        images.record_classes(other, ["c"])
        assert len(list(looked_at)) == 2


def test_nothing_is_recorded_where_a_later_folder_cannot_be_read(tmp_path, monkeypatch) -> None:
    for label in "abc":
        written(tmp_path / "data" / label / "1.png", label)
    project = Project.create(tmp_path / "data", tmp_path / "project")
    project.scan()
    written(tmp_path / "data/a/2.png", "new")
    shutil.rmtree(tmp_path / "data/b")
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refusing(os.scandir, tmp_path / "data/c"))
        with pytest.raises(DatasetError, match="cannot be read"):
            project.scan()
    found = project.scan()
    assert (found.read, found.gone) == (1, 1)
