"""Export and review: the tree, and what is read from it. Real files and real operations on them."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupekit.errors import DatasetChanged, TreeUnavailable, UsageError
from dupekit.files.names import escape
from dupekit.files.write import digest_file, read_lines
from dupekit.review import verdicts as review
from dupekit.review.listing import Entry, list_tree
from dupekit.review.manifest import MARKER, Manifest, read_manifest
from dupekit.review.verdicts import judge, read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from tests.review.trees import dupes_in
from tests.support import refusing

CLASSES = ["Acantharia", "Bacillaria", "with_under score"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    images = {
        "Acantharia/1.png": ("one", "Bacillaria"),
        "Acantharia/2.png": ("two", "with_under score"),
        "Bacillaria/sub/3_x.png": ("three", "Acantharia"),
        "with_under score/4.png": ("four", "Bacillaria"),
    }
    dupes = dupes_in(tmp_path / "data", images)
    manifest = plan_tree(dupes, CLASSES, round_number=1, pairs=10, created="2026-01-01T00:00:00+00:00")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    return tmp_path / "tree"


def verdicts(tree: Path) -> dict[str, tuple[str, str]]:
    found = read_tree(tree, tree_manifest(tree)).review.verdicts
    return {v.file.original: (v.verdict, v.label) for v in found}


UNTOUCHED = {
    "Acantharia/1.png": ("open", "Acantharia"),
    "Acantharia/2.png": ("open", "Acantharia"),
    "Bacillaria/sub/3_x.png": ("open", "Bacillaria"),
    "with_under score/4.png": ("open", "with_under score"),
}


def test_the_tree_shows_given_and_suggested_label_and_votes(tree) -> None:
    expected = [
        "Acantharia/Bacillaria_09_1.png",
        "Acantharia/with_under score_09_2.png",
        "Bacillaria/sub/Acantharia_09_3_x.png",
        "with_under score/Bacillaria_09_4.png",
    ]
    assert sorted(list_tree(tree).files) == expected
    assert read_lines(tree / MARKER / "before.txt") == expected
    assert {path.name for path in tree.iterdir()} >= {"_done", "_right", "_expunge", "_unsure"}


def test_nothing_touched_decides_nothing(tree) -> None:
    assert verdicts(tree) == UNTOUCHED


def test_all_done_relabels_everything(tree) -> None:
    for folder in CLASSES:
        if (tree / folder).exists():
            (tree / folder).rename(tree / "_done" / folder)
    assert verdicts(tree) == {
        "Acantharia/1.png": ("relabel", "Bacillaria"),
        "Acantharia/2.png": ("relabel", "with_under score"),
        "Bacillaria/sub/3_x.png": ("relabel", "Acantharia"),
        "with_under score/4.png": ("relabel", "Bacillaria"),
    }


def move(source: str, target: str) -> Callable[[Path], None]:
    def do(tree: Path) -> None:
        (tree / target).parent.mkdir(exist_ok=True)
        (tree / source).rename(tree / target)

    return do


ONE, NAME = "Acantharia/1.png", "Acantharia/Bacillaria_09_1.png"


@pytest.mark.parametrize(
    ("do", "verdict"),
    [
        (lambda tree: (tree / NAME).unlink(), ("correct", "Acantharia")),
        (move(NAME, ".Trash-1000/1.png"), ("correct", "Acantharia")),
        (move(NAME, "$RECYCLE.BIN/1.png"), ("correct", "Acantharia")),
        (move(NAME, "with_under score/x.png"), ("relabel", "with_under score")),
        (move(NAME, "Bacillaria/Bacillaria_09_1.png"), ("relabel", "Bacillaria")),
        (move(NAME, "brand new/1.png"), ("relabel", "brand new")),
        (move(NAME, "_expunge/1.png"), ("expunge", "Acantharia")),
        (move(NAME, "_unsure/1.png"), ("unsure", "Acantharia")),
        (move(NAME, "on top.png"), ("unsure", "Acantharia")),
        (move(NAME, "Acantharia/renamed.png"), ("open", "Acantharia")),
        (move(NAME, "Acantharia/BACILLARIA_09_1.PNG"), ("open", "Acantharia")),
        (move(NAME, "Acantharia/deeper/1.png"), ("open", "Acantharia")),
        (move(NAME, "_done/1.png"), ("relabel", "Bacillaria")),
        (move(NAME, "_right/1.png"), ("correct", "Acantharia")),
    ],
)
def test_what_a_technician_may_do(tree, do: Callable[[Path], None], verdict: tuple[str, str]) -> None:
    do(tree)
    assert verdicts(tree) == {**UNTOUCHED, ONE: verdict}


def test_a_copy_and_clutter_decide_nothing(tree) -> None:
    shutil.copy(tree / NAME, tree / "Bacillaria" / "copy.png")
    for name in ("Thumbs.db", ".DS_Store", "._Bacillaria_09_1.png", "desktop.ini"):
        (tree / "Acantharia" / name).write_text("one")
    (tree / "notes.txt").write_text("mine")
    review = read_tree(tree, tree_manifest(tree)).review
    assert verdicts(tree) == UNTOUCHED
    assert review.strangers == ["Bacillaria/copy.png", "notes.txt"]


def test_of_two_equal_contents_each_keeps_its_own_verdict(tmp_path) -> None:
    images = {"Acantharia/1.png": ("same", "Bacillaria"), "Bacillaria/2.png": ("same", "Acantharia")}
    dupes = dupes_in(tmp_path / "data", images)
    manifest = plan_tree(dupes, CLASSES, round_number=1, pairs=10, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    (tmp_path / "tree" / "Acantharia" / "Bacillaria_09_1.png").unlink()
    expected = {"Acantharia/1.png": ("correct", "Acantharia"), "Bacillaria/2.png": ("open", "Bacillaria")}
    assert verdicts(tmp_path / "tree") == expected


def test_a_tree_without_its_marker_was_not_emptied(tree) -> None:
    shutil.rmtree(tree / MARKER)
    with pytest.raises(TreeUnavailable, match=r"no folder \.dupekit"):
        list_tree(tree)
    with pytest.raises(TreeUnavailable, match="not available"):
        list_tree(tree / "gone")


def test_an_unreadable_folder_was_not_emptied(tree, monkeypatch) -> None:
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, tree / "Acantharia"))
    with pytest.raises(TreeUnavailable, match=r"Acantharia .* cannot be read: Permission denied"):
        list_tree(tree)


@pytest.fixture
def no_pause(monkeypatch) -> None:
    monkeypatch.setattr("dupekit.review.listing.time.sleep", lambda _: None)


def test_a_folder_deleted_while_the_tree_is_read_is_read_again(tree, monkeypatch, no_pause) -> None:
    """By a file manager, after its parent was listed and before it was itself."""
    scandir, gone = os.scandir, tree / "Bacillaria" / "sub"

    def scan(path):
        if Path(path) == gone and gone.exists():
            (gone / "Acantharia_09_3_x.png").unlink()
            gone.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    deleted = {"Bacillaria/sub/3_x.png": ("correct", "Bacillaria")}
    assert verdicts(tree) == UNTOUCHED | deleted


def test_a_file_moved_while_the_tree_is_read_is_found_where_it_went(tree, monkeypatch, no_pause) -> None:
    source, target = tree / "Acantharia" / "Bacillaria_09_1.png", tree / "_unsure" / "else.png"
    read, moves = review.digest_file, []

    def digest(path: Path) -> str:
        if path == source.with_name("renamed.png") and not moves:
            moves.append(path.rename(target))
        return read(path)

    source.rename(source.with_name("renamed.png"))
    monkeypatch.setattr(review, "digest_file", digest)
    assert verdicts(tree) == UNTOUCHED | {"Acantharia/1.png": ("unsure", "Acantharia")}


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "No such file"), OSError(errno.ESTALE, "Stale")]
)
def test_a_folder_that_is_listed_and_stays_away_was_not_emptied(tree, monkeypatch, no_pause, error) -> None:
    """As on a share that shows a name it cannot open."""
    scandir = os.scandir

    def scan(path):
        if Path(path) == tree / "Acantharia":
            raise error
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(TreeUnavailable, match=r"Acantharia of the review tree cannot be read"):
        verdicts(tree)


def test_a_tree_that_goes_away_while_it_is_read_was_not_emptied(tree, monkeypatch, no_pause) -> None:
    scandir = os.scandir

    def scan(path):
        if Path(path) == tree / "Acantharia":
            tree.rename(tree.with_name("unmounted"))
            tree.mkdir()  # the mount point
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(TreeUnavailable, match=r"no folder \.dupekit"):
        verdicts(tree)


def test_a_damaged_manifest_is_said(tree) -> None:
    (tree / MARKER / "manifest.json").write_text('{"schema": "else"}')
    with pytest.raises(TreeUnavailable, match="is not a manifest"):
        tree_manifest(tree)


def test_the_manifest_comes_back_as_it_was_written(tree) -> None:
    manifest = tree_manifest(tree)
    assert Manifest.model_validate_json(manifest.model_dump_json(by_alias=True)) == manifest
    assert manifest.model_dump(by_alias=True)["schema"] == "dupekit/manifest/1"


def test_an_export_never_writes_over_something(tree, tmp_path) -> None:
    manifest = tree_manifest(tree)
    with pytest.raises(UsageError, match="exists already"):
        write_tree(manifest, tmp_path / "data", tree)


def test_an_image_that_changed_stops_the_export_and_leaves_nothing(tree, tmp_path) -> None:
    manifest = tree_manifest(tree)
    (tmp_path / "data" / "Acantharia" / "2.png").write_text("other")
    with pytest.raises(DatasetChanged, match="changed since the last scan"):
        write_tree(manifest, tmp_path / "data", tmp_path / "again")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "tree"}


def test_images_of_a_read_only_dataset_can_be_deleted_in_the_tree(tmp_path) -> None:
    dupes = dupes_in(tmp_path / "data", {"Acantharia/1.png": ("x", "Bacillaria")})
    (tmp_path / "data" / "Acantharia" / "1.png").chmod(0o444)
    manifest = plan_tree(dupes, CLASSES, round_number=1, pairs=10, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    assert (tmp_path / "tree" / NAME).stat().st_mode & 0o200


# Any bytes make a name; "." and ".." are not names.
file_names = st.binary(min_size=1, max_size=100).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)
class_names = st.sampled_from(
    ["a", "A", "å", "a\u030a", "_expunge", ".dupekit", "con", "x:y", "_unsure", "_done", "_RIGHT"]
)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(class_names, file_names, class_names), min_size=1, max_size=12, unique_by=lambda r: r[:2]
    )
)
def test_any_names_export_and_come_back(tmp_path_factory, rows: list[tuple[str, bytes, str]]) -> None:
    folder = tmp_path_factory.mktemp("names")
    images = {
        f"{escape(label)}/{escape(os.fsdecode(name))}": (f"{i}", escape(suggested))
        for i, (label, name, suggested) in enumerate(rows)
    }
    dupes = dupes_in(folder / "data", images)
    classes = sorted({escape(name) for label, _, suggested in rows for name in (label, suggested)})
    manifest = plan_tree(dupes, classes, round_number=1, pairs=10, created="")
    write_tree(manifest, folder / "data", folder / "tree")
    expected = {path: ("open", path.partition("/")[0]) for path in images}
    assert verdicts(folder / "tree") == expected
    assert len({path.casefold() for path in list_tree(folder / "tree").files}) == len(rows)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from(["delete", "keep", "b", "_unsure", "_expunge", "_done", "_right"]),
        ),
        max_size=15,
    )
)
def test_the_last_place_of_a_file_decides(steps: list[tuple[int, str]]) -> None:
    """Against a model: any sequence of moves, and judging twice gives the same."""
    files = [Suspect(i, f"a/{i}.png", f"{i:064x}", "a", "c", 9, 1.0, 0.1, 0.9) for i in range(10)]
    manifest = plan_tree(files, ["a", "b", "c"], round_number=1, pairs=10, created="")
    place: dict[int, str | None] = {i: manifest.files[i].path for i in range(10)}
    for i, step in steps:
        if place[i] is not None and step != "keep":
            place[i] = None if step == "delete" else f"{step}/{i}.png"
    at = {path: i for i, path in place.items() if path}
    review = judge(manifest, dict.fromkeys(at, Entry(1, 1, 1)), lambda path: f"{at[path]:064x}")
    again = judge(manifest, dict.fromkeys(at, Entry(1, 1, 1)), lambda path: f"{at[path]:064x}")
    assert review == again
    for i, verdict in enumerate(review.verdicts):
        top = (place[i] or "").partition("/")[0]
        expected = {"": ("correct", "a"), "a": ("open", "a"), "b": ("relabel", "b"), "_unsure": ("unsure", "a"),
                    "_expunge": ("expunge", "a"), "_done": ("relabel", "c"), "_right": ("correct", "a")}[top]  # fmt: skip
        assert (verdict.verdict, verdict.label) == expected


@pytest.fixture
def namesakes(tmp_path: Path) -> Path:
    """A tree in which two class folders hold files of one name, as numbering per class gives them."""
    images = {
        "Acantharia/001.png": ("a one", "Bacillaria"),
        "with_under score/001.png": ("w one", "Bacillaria"),
    }
    dupes = dupes_in(tmp_path / "data", images)
    manifest = plan_tree(dupes, CLASSES, round_number=1, pairs=10, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    return tmp_path / "tree"


def test_a_file_moved_into_the_place_of_its_deleted_namesake(namesakes) -> None:
    target = namesakes / "with_under score" / "Bacillaria_09_001.png"
    target.unlink()
    (namesakes / "Acantharia" / "Bacillaria_09_001.png").rename(target)
    assert verdicts(namesakes) == {
        "Acantharia/001.png": ("relabel", "with_under score"),
        "with_under score/001.png": ("correct", "with_under score"),
    }


def test_namesakes_that_changed_places(namesakes) -> None:
    one = namesakes / "Acantharia" / "Bacillaria_09_001.png"
    two = namesakes / "with_under score" / "Bacillaria_09_001.png"
    one.rename(namesakes / "x")
    two.rename(one)
    (namesakes / "x").rename(two)
    assert verdicts(namesakes) == {
        "Acantharia/001.png": ("relabel", "with_under score"),
        "with_under score/001.png": ("relabel", "Acantharia"),
    }


def test_a_namesake_whose_name_changed_its_form_on_the_way(namesakes) -> None:
    """As over a computer that writes names in another case."""
    target = namesakes / "with_under score" / "Bacillaria_09_001.png"
    target.unlink()
    (namesakes / "Acantharia" / "Bacillaria_09_001.png").rename(target.with_name("BACILLARIA_09_001.PNG"))
    assert verdicts(namesakes) == {
        "Acantharia/001.png": ("relabel", "with_under score"),
        "with_under score/001.png": ("correct", "with_under score"),
    }


def test_of_two_equal_contents_the_moved_one_is_known_by_its_name(tmp_path) -> None:
    """Not by the order of the manifest, in which the deleted one comes first."""
    images = {"Acantharia/1.png": ("same", "Bacillaria"), "Bacillaria/2.png": ("same", "Acantharia")}
    dupes = dupes_in(tmp_path / "data", images)
    manifest = plan_tree(dupes, CLASSES, round_number=1, pairs=10, created="")
    tree = tmp_path / "tree"
    write_tree(manifest, tmp_path / "data", tree)
    (tree / "Acantharia" / "Bacillaria_09_1.png").unlink()
    move("Bacillaria/Acantharia_09_2.png", "with_under score/Acantharia_09_2.png")(tree)
    assert verdicts(tree) == {
        "Acantharia/1.png": ("correct", "Acantharia"),
        "Bacillaria/2.png": ("relabel", "with_under score"),
    }


def test_of_names_that_differ_in_case_the_first_is_taken_in_every_process(tree) -> None:
    """A set of names has another order in every process; of so many, all first ones come by no chance."""
    file = tree_manifest(tree).files[0]
    pairs = [(f"A{i:02d}.PNG", f"a{i:02d}.PNG") for i in range(40)]
    files = [dataclasses.replace(file, path=f"x/a{i:02d}.png", digest=f"{i:064x}") for i in range(40)]
    manifest = tree_manifest(tree).model_copy(update={"files": files})
    listing = {f"x/{name}": Entry(1, 1, 1) for pair in pairs for name in pair}
    review = judge(manifest, listing, lambda path: "f" * 64)
    assert [v.now_at for v in review.verdicts] == [f"x/{upper}" for upper, _ in pairs]


def test_a_file_edited_and_moved_is_known_by_its_name(tree) -> None:
    (tree / NAME).write_text("rotated")
    (tree / NAME).rename(tree / "_expunge" / "Bacillaria_09_1.png")
    assert verdicts(tree) == {**UNTOUCHED, ONE: ("expunge", "Acantharia")}


def test_a_file_edited_where_it_is_stays(tree) -> None:
    (tree / NAME).write_text("rotated")
    assert verdicts(tree) == UNTOUCHED


THREE, FOUR = "Bacillaria/sub/Acantharia_09_3_x.png", "with_under score/Bacillaria_09_4.png"
TWO = "Acantharia/with_under score_09_2.png"


@pytest.mark.parametrize(
    ("source", "target", "differs"),
    [
        pytest.param(
            NAME,
            THREE,
            {ONE: ("relabel", "Bacillaria"), "Bacillaria/sub/3_x.png": ("correct", "Bacillaria")},
            id="of another length",
        ),
        pytest.param(NAME, TWO, {"Acantharia/2.png": ("correct", "Acantharia")}, id="of the same length"),
        pytest.param(
            FOUR,
            THREE,
            {
                "with_under score/4.png": ("relabel", "Bacillaria"),
                "Bacillaria/sub/3_x.png": ("correct", "Bacillaria"),
            },
            id="of another class",
        ),
    ],
)
@pytest.mark.parametrize("copied", [False, True])
def test_a_file_put_over_another_exported_one(tree, source, target, differs, copied) -> None:
    """The one that was there is gone; the other has moved, or lies where it did."""
    if copied:
        shutil.copy(tree / source, tree / target)
        moved = next(f.original for f in tree_manifest(tree).files if f.path == source)
        differs = {path: verdict for path, verdict in differs.items() if path != moved}
    else:
        (tree / source).replace(tree / target)
    assert verdicts(tree) == UNTOUCHED | differs


def test_files_moved_over_each_other_in_a_row(tree) -> None:
    (tree / THREE).replace(tree / FOUR)
    (tree / TWO).replace(tree / THREE)
    (tree / NAME).replace(tree / TWO)
    assert verdicts(tree) == UNTOUCHED | {
        "with_under score/4.png": ("correct", "with_under score"),
        "Bacillaria/sub/3_x.png": ("relabel", "with_under score"),
        "Acantharia/2.png": ("relabel", "Bacillaria"),
    }


def exchange(one: Path, other: Path) -> None:
    one.rename(one.with_name("kept"))
    other.rename(one)
    one.with_name("kept").rename(other)


def test_whole_names_exchanged(tree) -> None:
    exchange(tree / THREE, tree / FOUR)
    exchange(tree / NAME, tree / TWO)  # equally long, which here changes nothing but the suggested label
    found = read_tree(tree, tree_manifest(tree)).review.verdicts
    assert [v.now_at for v in found] == [TWO, NAME, FOUR, THREE]
    assert verdicts(tree) == UNTOUCHED | {
        "Bacillaria/sub/3_x.png": ("relabel", "with_under score"),
        "with_under score/4.png": ("relabel", "Bacillaria"),
    }


def test_of_a_large_tree_that_was_copied_the_lengths_and_what_is_missing_tell(
    tree, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("dupekit.review.match.READ_AT_MOST", 3)
    exchange(tree / THREE, tree / FOUR)
    exchange(tree / NAME, tree / TWO)
    shutil.copytree(tree, tmp_path / "copy")
    found = read_tree(tmp_path / "copy", tree_manifest(tree)).review.verdicts
    assert [v.now_at for v in found] == [NAME, TWO, FOUR, THREE]
    assert asked(tmp_path / "copy", tree_manifest(tree)) == [THREE, FOUR]
    (tmp_path / "copy" / TWO).replace(tmp_path / "copy" / NAME)
    found = read_tree(tmp_path / "copy", tree_manifest(tree)).review.verdicts
    assert [v.now_at for v in found] == [NAME, None, FOUR, THREE]


@pytest.mark.parametrize("text", ["rotated", "ONE", "sizes"])
def test_a_file_edited_where_it_is_stays_however_long_it_is_now(tree, text) -> None:
    (tree / NAME).write_text(text)
    (tree / FOUR).unlink()
    assert verdicts(tree) == UNTOUCHED | {"with_under score/4.png": ("correct", "with_under score")}


def asked(tree: Path, manifest: Manifest) -> list[str]:
    """What is read for a review."""
    read: list[str] = []

    def digest(path: str) -> str:
        read.append(path)
        return digest_file(tree / path)

    judge(manifest, list_tree(tree).files, digest)
    return sorted(read)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell when a file was moved")
def test_only_what_may_be_another_file_is_read(tree, tmp_path) -> None:
    manifest = tree_manifest(tree)
    assert asked(tree, manifest) == []
    (tree / NAME).unlink()
    assert asked(tree, manifest) == []  # the one as long was not touched since
    (tree / THREE).write_text("edited, and of a length that no other has")
    (tree / "Acantharia" / "copy").write_text("two")
    assert asked(tree, manifest) == ["Acantharia/copy"]
    shutil.copytree(tree, tmp_path / "copy")  # on another computer all are changed later
    assert asked(tmp_path / "copy", manifest) == ["Acantharia/copy", TWO]


def test_a_manifest_of_an_earlier_dupekit_is_judged_by_paths_and_contents(tree) -> None:
    found = json.loads((tree / MARKER / "manifest.json").read_text())
    del found["settled_us"]
    for file in found["files"]:
        del file["size"]
    (tree / MARKER / "manifest.json").write_text(json.dumps(found))
    (tree / TWO).unlink()
    move(NAME, "with_under score/x.png")(tree)
    (tree / THREE).write_text("rotated")
    assert verdicts(tree) == UNTOUCHED | {
        ONE: ("relabel", "with_under score"),
        "Acantharia/2.png": ("correct", "Acantharia"),
    }


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path: Path) -> None:
    manifest = plan_tree([], ["a", "b"], round_number=1, pairs=1, created="2026-01-01T00:00:00+00:00")
    stale = [tmp_path / ".tree.0123abcd.partial", tmp_path / ".tree.4567cdef.partial"]
    others = [
        tmp_path / ".tree.partial",
        tmp_path / ".tree2.0123abcd.partial",
        tmp_path / ".tree.notours1.partial",
    ]
    for folder in (*stale, *others):
        folder.mkdir()
        (folder / "half.png").write_text("half")
    (tmp_path / "data").mkdir()
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    assert not any(folder.exists() for folder in stale)
    assert all((folder / "half.png").is_file() for folder in others)


def test_classes_may_be_called_as_the_parts_of_a_manifest(tmp_path) -> None:
    names = ["votes", "digest", "given", "files", "path"]
    dupes = dupes_in(tmp_path / "data", {f"{name}/1.png": (name, "votes") for name in names})
    manifest = plan_tree(dupes, names, round_number=1, pairs=10, created="")
    written = write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    assert tree_manifest(tmp_path / "tree") == written


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"files": [{"votes": 1}]}', '{"votes": "1"}', "\xff"])
def test_what_is_no_manifest_is_said_to_be_none(tmp_path, text) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(TreeUnavailable, match="is not a manifest of a review tree"):
        read_manifest(tmp_path / "manifest.json")
