"""The references that a review tree takes along."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from dupekit import Selection
from dupekit.project import Project
from dupekit.review.manifest import MARKER
from dupekit.review.reference_index import ReferenceIndex, read_index, read_thumbnail, reference_folder
from dupekit.workflow import reference_folder as making
from tests.support import CLASSES, call_back
from tests.workflow.test_references import numbers, thumbnails


def index_of(tree: Path) -> ReferenceIndex:
    found = read_index(tree)
    assert found is not None
    return found


def test_a_tree_takes_typical_images_and_look_alikes_along(trained: Project) -> None:
    thumbnails(trained)
    exported = trained.export()
    found = index_of(exported.tree)
    assert set(found.classes) == set(CLASSES)
    for label, typical in found.classes.items():
        assert 1 <= len(typical) <= 8
        assert {found.thumbnails[number].label for number in typical} == {label}
    assert set(found.beside) == {file.path for file in exported.manifest.files}
    for file in exported.manifest.files:
        beside = found.beside[file.path]
        assert len(beside.given) == len(beside.suggested) == 5
        assert {found.thumbnails[number].label for number in beside.suggested} == {file.suggested}
        assert len(beside.alike) == 6
    for one in found.thumbnails:
        content = read_thumbnail(exported.tree, one.file)
        assert content is not None
        picture = PillowImage.open(io.BytesIO(content))
        assert picture.format == "WEBP"
        assert picture.size == (one.width, one.height)  # none has over 160 pixels here
    files = {path.name for path in reference_folder(exported.tree).iterdir()}
    assert files == {"index.json", *(one.file for one in found.thumbnails)}


def test_nothing_of_the_tree_stands_as_a_reference_in_it(trained: Project) -> None:
    """It would tell what others decided, and which images are of an audit."""
    thumbnails(trained)
    exported = trained.export(selection=Selection(audit=12))
    own = {file.digest[:16] for file in exported.manifest.files}
    assert not own & {one.file[:16] for one in index_of(exported.tree).thumbnails}


def test_large_images_are_shrunk_and_say_how_large_they_are(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "SIDE_PX", 20)
    tree = trained.export().tree
    found = index_of(tree)
    content = read_thumbnail(tree, found.thumbnails[0].file)
    assert content is not None
    assert max(PillowImage.open(io.BytesIO(content)).size) == 20
    assert found.thumbnails[0].height == 32


def test_without_features_there_are_no_look_alikes(trained: Project) -> None:
    found = index_of(trained.export().tree)
    assert all(not beside.alike and beside.given for beside in found.beside.values())


def test_in_a_large_tree_look_alikes_are_among_the_pictures_that_are_there(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnails(trained)
    monkeypatch.setattr(making, "TYPICAL", 1)
    monkeypatch.setattr(making, "CANDIDATES", 2)
    monkeypatch.setattr(making, "BESIDE", 2)
    free = index_of(trained.export().tree)
    call_back(trained)
    monkeypatch.setattr(making, "MANY", 1)
    tied = index_of(trained.export().tree)
    assert len(tied.thumbnails) <= 2 * len(CLASSES) < len(free.thumbnails)
    assert all(beside.alike for beside in tied.beside.values())


def test_of_many_classes_those_that_are_concerned(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ALL_CLASSES", 2)
    monkeypatch.setattr(making, "CONFUSED", 0)
    exported = trained.export(selection=Selection(limit=1))
    (file,) = exported.manifest.files
    assert set(index_of(exported.tree).classes) == {file.given, file.suggested}


def test_no_more_than_fits(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = index_of(trained.export().tree)
    call_back(trained)
    monkeypatch.setattr(making, "MAX_BYTES", 2000)
    tree = trained.export().tree
    pictures = list(reference_folder(tree).glob("*.webp"))
    assert 0 < sum(file.stat().st_size for file in pictures) <= 2000
    assert 0 < len(index_of(tree).thumbnails) == len(pictures) < len(whole.thumbnails)


def test_images_that_cannot_be_read_are_left_out(trained: Project) -> None:
    first = index_of(trained.export().tree)
    call_back(trained)
    known = {path: number for path, number in numbers(trained).items() if "wrong" not in path}
    broken, gone = sorted(path for path in known if path.startswith("diatom"))[:2]
    (trained.dataset / broken).write_bytes(b"no image")
    (trained.dataset / gone).unlink()
    found = index_of(trained.export().tree)
    assert found.classes.keys() == first.classes.keys()
    assert 0 < len(found.thumbnails) <= len(first.thumbnails)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("x"), MemoryError()])
def test_whatever_goes_wrong_with_them_the_tree_is_exported(
    trained: Project, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(making, "write_index", fail)
    exported = trained.export()
    assert exported.manifest.files
    assert not reference_folder(exported.tree).exists()
    assert read_index(exported.tree) is None
    assert trained.collect(exported.tree).review.strangers == []


def test_a_damaged_cache_of_features_harms_no_export(trained: Project) -> None:
    thumbnails(trained)
    for file in (trained.path / "cache").glob("features-*/*.bin"):
        file.write_bytes(file.read_bytes()[:1000] + b"\xff" * 999)
    assert index_of(trained.export().tree).classes


def test_collect_does_not_take_the_folder_for_the_technicians(trained: Project) -> None:
    thumbnails(trained)
    exported = trained.export()
    folder = reference_folder(exported.tree)
    (folder / "Thumbs.db").write_bytes(b"")
    collected = trained.collect(exported.tree)
    assert collected.review.strangers == []
    (folder / "notes.txt").write_text("whose is this?")
    assert trained.collect(exported.tree).review.strangers == [f"{MARKER}/reference/notes.txt"]
    shutil.rmtree(folder)
    assert trained.collect(exported.tree).review.strangers == []
