from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dupekit.cli.init import init
from dupekit.dataset.image_file import EXTENSIONS
from dupekit.dataset.scan import DatasetListing, OtherFiles, Skipped, list_dataset, read_files
from dupekit.errors import DatasetError, UsageError
from dupekit.files import names
from dupekit.project import Project
from tests.support import refusing


def picture(path: Path, *, size: tuple[int, int] = (6, 4), kind: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 99).save(path, kind)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    picture(root / "b" / "1.png")
    picture(root / "a" / "2.JPG")
    picture(root / "a" / "deep" / "er" / "3.tiff")
    return root


def paths(listing: DatasetListing) -> list[str]:
    return [file.path for file in listing.files]


def test_classes_are_the_immediate_folders_and_images_lie_anywhere_below(dataset) -> None:
    listing = list_dataset(dataset)
    assert listing.classes == ["a", "b"]
    assert [(file.path, file.label) for file in listing.files] == [
        ("a/2.JPG", "a"),
        ("a/deep/er/3.tiff", "a"),
        ("b/1.png", "b"),
    ]


@pytest.mark.parametrize("suffix", ["jpg", "jfif", "JPEG", "Png", "bmp", "TIF", "tiff", "webp", "gif"])
def test_extensions_in_any_case(dataset, suffix: str) -> None:
    picture(
        dataset / "b" / f"x.{suffix}", kind={"jpg": "JPEG", "jfif": "JPEG", "tif": "TIFF"}.get(suffix.lower())
    )
    assert f"b/x.{suffix}" in paths(list_dataset(dataset))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: root.mkdir(), "no class folders"),
        (lambda root: picture(root / "only" / "1.png"), "only one class folder, only"),
    ],
)
def test_what_cannot_be_a_dataset_is_refused(tmp_path, make, message: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(DatasetError, match=message) as caught:
        list_dataset(tmp_path / "data")
    assert "Give the folder" in caught.value.hint


def test_an_empty_class_is_a_class(dataset) -> None:
    (dataset / "empty").mkdir()
    assert list_dataset(dataset).classes == ["a", "b", "empty"]


def test_a_file_beside_the_classes_is_named_not_read(dataset) -> None:
    picture(dataset / "stray.png")
    listing = list_dataset(dataset)
    assert listing.skipped == [Skipped("stray.png", "file beside the class folders")]
    assert len(listing.files) == 3


NAMES = [
    b"new\nline.png", b"tab\t.png", b"quo'te\".png", b"-rf.png", b"  spaces  .png", b"\xff\xfe.png",
    b"b\\slash.png", "ü".encode() * 120 + b".png", b"x" * 246 + b".png", "\u2028.png".encode(), b"*?.png",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read(dataset, name: bytes) -> None:
    picture(dataset / "b" / os.fsdecode(name), kind="PNG")
    (content,) = [
        content for content in read_files(dataset, list_dataset(dataset).files) if content.file.path not in
        ("a/2.JPG", "a/deep/er/3.tiff", "b/1.png")
    ]  # fmt: skip
    assert (content.problem, content.width, content.height) == ("", 6, 4)
    assert "\n" not in content.file.path


def test_any_class_name_is_read(dataset) -> None:
    for name in NAMES:
        picture(dataset / os.fsdecode(name[:-4]) / "1.png")
    assert len(list_dataset(dataset).classes) == 2 + len(NAMES)


def test_links_are_skipped_and_named_unless_asked_for(dataset, tmp_path) -> None:
    outside = picture(tmp_path / "elsewhere" / "secret.png")
    (dataset / "a" / "link.png").symlink_to(outside)
    (dataset / "a" / "folder").symlink_to(outside.parent)
    (dataset / "c").symlink_to(outside.parent)
    (dataset / "a" / "broken.png").symlink_to(tmp_path / "nothing")
    listing = list_dataset(dataset)
    assert len(listing.files) == 3
    assert [one.path for one in listing.skipped] == ["a/broken.png", "a/folder", "a/link.png", "c"]
    followed = list_dataset(dataset, follow_symlinks=True)
    assert {"a/link.png", "a/folder/secret.png", "c/secret.png"} < set(paths(followed))
    assert followed.skipped == [Skipped("a/broken.png", "link to nothing")]


def test_a_circle_of_links_ends(dataset) -> None:
    (dataset / "a" / "round").symlink_to(dataset / "a")
    assert len(list_dataset(dataset, follow_symlinks=True).files) == 3


def test_what_systems_leave_behind_is_passed_over(dataset) -> None:
    for name in ("._1.png", ".hidden/1.png", "@eaDir/1.png", "#recycle/1.png", ".Trash-1000/1.png"):
        picture(dataset / "a" / name)
    (dataset / "a" / "Thumbs.db").touch()
    (dataset / "a" / "notes.txt").touch()
    listing = list_dataset(dataset)
    assert len(listing.files) == 3
    assert listing.other_files == [OtherFiles("a", ".txt", 1)]
    assert [one.path for one in listing.skipped] == ["a/#recycle"]


@pytest.mark.parametrize(
    "name",
    ["#snapshot", "@Recently-Snapshot", "~snapshot", "lost+found", "System Volume Information", "RECYCLED",
     "$RECYCLE.BIN", "Network Trash Folder", "Recycler"],
)  # fmt: skip
def test_a_folder_that_a_system_keeps_is_no_class_and_named(dataset, name: str, monkeypatch) -> None:
    picture(dataset / name / "1.png")
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, dataset / name))  # as lost+found is
    listing = list_dataset(dataset)
    assert listing.classes == ["a", "b"]
    (one,) = listing.skipped
    assert one.path == name
    assert "by its name" in one.reason


def test_other_files_are_counted_by_class_and_extension(dataset) -> None:
    for name in ("a/notes.TXT", "a/more.txt", "a/README", "b/x.heic"):
        (dataset / name).touch()
    assert list_dataset(dataset).other_files == [
        OtherFiles("a", "", 1), OtherFiles("a", ".txt", 2), OtherFiles("b", ".heic", 1),
    ]  # fmt: skip


def test_links_and_loose_images_are_named_where_there_are_no_classes(tmp_path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name in "ab":
        picture(tmp_path / "elsewhere" / name / "1.png")
        (root / name).symlink_to(tmp_path / "elsewhere" / name)
    with pytest.raises(DatasetError) as caught:
        list_dataset(root)
    assert "2 symbolic links" in caught.value.hint
    assert "--follow-symlinks" in caught.value.hint
    picture(tmp_path / "flat" / "1.png")
    (tmp_path / "flat" / "notes.txt").touch()
    with pytest.raises(DatasetError) as caught:
        list_dataset(tmp_path / "flat")
    assert "holds 1 images itself" in caught.value.hint
    assert "link" not in caught.value.hint


def test_classes_that_look_alike_are_named(dataset, tmp_path) -> None:
    for name in ("A", "Mu\u0308ller", "M\u00fcller"):
        picture(dataset / name / "1.png")
    project = Project.create(dataset, tmp_path / "project")
    assert project.scan().twins == [("A", "a"), ("Mu\u0308ller", "M\u00fcller")]


def test_a_project_is_made_beside_whatever_the_dataset_is_called(dataset, monkeypatch) -> None:
    monkeypatch.chdir(dataset / "a")
    init(Path(".."), json=True)
    assert (dataset.parent / "data-dupekit" / "dupekit.toml").is_file()


def test_a_place_that_cannot_be_written_asks_for_another(dataset, monkeypatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UsageError, match="Read-only file system") as caught:
        Project.create(dataset, dataset.parent / "project")
    assert "-p" in caught.value.hint


def test_an_unreadable_folder_is_not_an_empty_one(dataset, monkeypatch) -> None:
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, dataset / "a"))
    with pytest.raises(DatasetError, match=r"a cannot be read: Permission denied"):
        list_dataset(dataset)


def test_problems_are_found_and_stop_nothing(dataset) -> None:
    good = (dataset / "b" / "1.png").read_bytes()
    (dataset / "b" / "0-empty.png").touch()
    (dataset / "b" / "2-half.png").write_bytes(good[: len(good) // 2])
    (dataset / "b" / "3-text.png").write_text("not an image")
    picture(dataset / "b" / "4-bomb.png", size=(300, 300))
    contents = {
        content.file.path: content
        for content in read_files(dataset, list_dataset(dataset).files, max_pixels=10_000)
    }
    assert contents["b/0-empty.png"].problem == "empty file"
    assert contents["b/2-half.png"].problem
    assert contents["b/3-text.png"].problem == "not a readable image of a known format"
    assert "300 x 300 pixels are more" in contents["b/4-bomb.png"].problem
    assert [path for path, content in contents.items() if not content.problem] == [
        "a/2.JPG", "a/deep/er/3.tiff", "b/1.png",
    ]  # fmt: skip


def test_an_image_above_the_limit_is_told_that_limit(dataset) -> None:
    picture(dataset / "b" / "1.png", size=(2300, 2000))
    *_, large = read_files(dataset, list_dataset(dataset).files, max_pixels=4_500_000)
    assert large.problem == "2300 x 2000 pixels are more than the limit of 4500000"


def test_a_file_that_vanished_is_a_problem_to_try_again(dataset) -> None:
    files = list_dataset(dataset).files
    (dataset / "b" / "1.png").unlink()
    gone = list(read_files(dataset, files))[-1]
    assert gone.retry
    assert "No such file" in gone.problem


def test_images_that_show_nothing_are_named(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.linear_gradient("L").resize((8, 8)).save(tmp_path / "data" / label / "seen.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "data/a/blank.png")
    project = Project.create(tmp_path / "data", tmp_path / "project")
    assert project.scan().one_colour == ["a/blank.png"]
    assert project.status().images == 3  # they stay: what they are, a person may know


@given(st.from_regex(names._TRASH, fullmatch=True) | st.sampled_from(sorted(names._CLUTTER | names._SYSTEM)))
def test_no_name_of_a_system_has_an_images_extension(name: str) -> None:
    """What the listing relies on: it asks of no image whether a system put it there."""
    assert name.startswith(".") or Path(name).suffix.lower() not in EXTENSIONS
