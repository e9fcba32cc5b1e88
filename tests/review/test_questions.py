"""What must be confirmed before it is recorded, and what is ordinary work. Real folders, through Project.collect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.errors import NotConfirmed, TreeUnavailable
from dupekit.files.write import write_lines
from dupekit.project import Project
from dupekit.review.manifest import MARKER
from dupekit.review.questions import Question
from tests.reviewed import export_again, exported_project

SIZES = {"big": 20, "big/cruise": 10, "middle": 12, "middle/deep": 4, "small": 2, "tiny": 2}
IMAGES = {f"{folder}/{n}.bmp": "rare" for folder, count in SIZES.items() for n in range(count)}
Asked = tuple[str, tuple[str, ...], str | None, int]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    exported_project(folder, IMAGES)
    return folder


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Project:
    shutil.copytree(fresh / "project", tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def tree(fresh: Path):
    """The exported tree, put back afterwards."""
    shutil.copytree(fresh / "tree", fresh / "kept")
    yield fresh / "tree"
    shutil.rmtree(fresh / "tree")
    (fresh / "kept").rename(fresh / "tree")


def asked(project: Project, tree: Path) -> list[Asked]:
    """Everything that a collect asks; it is not recorded where it asks."""
    seen: list[Question] = []

    def no(questions: list[Question]) -> bool:
        seen.extend(questions)
        return False

    try:
        project.collect(tree, confirm=no)
    except NotConfirmed:
        assert project.collect(tree, confirm=lambda _: True).changed
        assert project.collect(tree).changed == []  # answered
    return [(q.kind, q.folders, q.target, q.files) for q in seen]


Do = Callable[[Path], object]


def each(*todo: Do) -> Do:
    return lambda tree: [one(tree) for one in todo]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def empty(*folders: str, leave: int = 0) -> Do:
    """Deletes the files, and leaves the folders."""
    return lambda tree: [
        path.unlink() for name in folders for path in files(tree / name)[: -leave if leave else None]
    ]


def remove(*folders: str) -> Do:
    return lambda tree: [shutil.rmtree(tree / name) for name in folders]


def rename(source: str, target: str) -> Do:
    def do(tree: Path) -> None:
        (tree / target).parent.mkdir(exist_ok=True)
        (tree / source).rename(tree / target)

    return do


def carry(source: str, target: str, most: int | None = None) -> Do:
    """Files one by one, from the top of a folder."""

    def do(tree: Path) -> None:
        (tree / target).mkdir(parents=True, exist_ok=True)
        for file in [path for path in sorted((tree / source).iterdir()) if path.is_file()][:most]:
            file.rename(tree / target / file.name)

    return do


def copy(source: str, target: str) -> Do:
    return lambda tree: shutil.copytree(tree / source, tree / target)


def spread(tree: Path) -> None:
    """Carried file by file into several folders, and the empty one tidied away."""
    for i, file in enumerate(files(tree / "middle")):
        file.rename(tree / ["small", "_unsure", "big"][i % 3] / f"{i} {file.name}")
    shutil.rmtree(tree / "middle")


WORK = {
    "nothing": lambda tree: None,
    "a class emptied": empty("middle"),
    "two small classes emptied": empty("small", "tiny"),
    "a sub-folder emptied": empty("big/cruise"),
    "a small class tidied away": remove("small"),
    "most files deleted": each(empty("big", leave=3), empty("middle", leave=1)),
    "files into a class": carry("big", "middle"),
    "files into a class without suspects": carry("big", "rare"),
    "all that is left of a class into another, and the empty folder tidied away": each(
        carry("middle/deep", "middle"), carry("middle", "small"), remove("middle")
    ),
    "a class done": rename("middle", "_done/middle"),
    "a class done, after most were deleted": each(empty("middle", leave=3), rename("middle", "_done/middle")),
    "all done": each(*(rename(name, f"_done/{name}") for name in ("big", "middle", "small", "tiny"))),
    "a sub-folder done": rename("middle/deep", "_done/deep"),
    "files done and right": each(carry("middle", "_done", 3), carry("middle", "_right")),
    "each file by itself, as the review page moves them": each(
        carry("big", "_right/big"),
        carry("big/cruise", "_right/big/cruise", 8),
        carry("big/cruise", "rare"),
        carry("middle", "_expunge/middle"),
        carry("middle/deep", "_done/middle/deep"),
    ),
    "_unsure put into a class, and made in one": each(
        carry("big", "big/_unsure", 2), carry("middle", "_unsure", 3), rename("_unsure", "small/_unsure")
    ),
    "into the marker's folder": rename("middle", f"{MARKER}/middle"),
    "a safety copy within the class": each(
        copy("big/cruise", "big/cruise (2)"), empty("big/cruise", leave=9)
    ),
    "files into _expunge": carry("middle", "_expunge"),
    "files into _unsure": carry("middle", "_unsure"),
    "an unfinished class into _unsure": rename("middle", "_unsure/middle"),
    "a folder's case": rename("middle", "MIDDLE"),
    "sub-folders made for order": each(carry("big", "big/done", 9), carry("middle", "middle/todo", 9)),
    "carried away and tidied away": spread,
    "one file copied": lambda tree: shutil.copy(
        files(tree / "big")[0], tree / "small" / files(tree / "big")[0].name
    ),
}
SLIPS: dict[str, tuple[Do, list[Asked]]] = {
    "a folder deleted": (remove("middle"), [("deleted", ("middle",), None, 16)]),
    "a sub-folder deleted": (remove("big/cruise"), [("deleted", ("big/cruise",), None, 10)]),
    "folders deleted that are small each": (
        remove("small", "middle/deep"),
        [("deleted", ("middle/deep", "small"), None, 6)],
    ),
    "into a trash folder": (
        rename("middle", ".Trash-1000/middle"),
        [("deleted", ("middle",), None, 16)],
    ),
    "every folder": (remove("big", "middle", "small", "tiny"), [("deleted", (), None, 50)]),
    "every file": (empty(*SIZES), [("deleted", (), None, 50)]),
    "all files of most classes": (empty("big"), [("deleted", ("big",), None, 30)]),
    "renamed": (rename("middle", "a new class"), [("new", ("middle",), "a new class", 16)]),
    "renamed after work in it": (
        each(empty("middle", leave=5), carry("middle", "small", 1), rename("middle", "mid")),
        [("new", ("middle",), "mid", 4), ("deleted", ("middle",), None, 11)],
    ),
    "into another class": (rename("small", "big/small"), [("moved", ("small",), "big", 2)]),
    "into another class that is done": (
        each(rename("small", "big/small"), rename("big", "_done/big")),
        [("moved", ("small",), "big", 2)],
    ),
    "two into another class": (
        each(rename("small", "big/small"), rename("middle", "big/middle")),
        [("moved", ("middle", "small"), "big", 18)],
    ),
    "into another class, after one was moved": (
        each(carry("middle", "small", 1), rename("middle", "big/middle")),
        [("moved", ("middle",), "big", 15)],
    ),
    "into another class, after most were deleted": (
        each(empty("middle", leave=3), rename("middle", "big/middle")),
        [("moved", ("middle",), "big", 3), ("deleted", ("middle",), None, 13)],
    ),
    "into _expunge": (rename("small", "_expunge/small"), [("moved", ("small",), "_expunge", 2)]),
    "into _right": (
        each(rename("small", "_right/small"), rename("tiny", "_right/tiny")),
        [("moved", ("small", "tiny"), "_right", 4)],
    ),
    "into _right, after most were deleted": (
        each(empty("middle", leave=3), rename("middle", "_right/middle")),
        [("moved", ("middle",), "_right", 3)],
    ),
    "a sub-folder into another class": (
        rename("middle/deep", "big/deep"),
        [("moved", ("middle/deep",), "big", 4)],
    ),
    "but the locked Thumbs.db": (
        each(
            lambda tree: (tree / "middle" / "Thumbs.db").touch(),
            copy("middle", "big/middle"),
            empty("middle/deep"),
            carry("middle", "../outside"),
            lambda tree: (tree / "middle" / "Thumbs.db").touch(),
        ),
        [("moved", ("middle",), "big", 16)],
    ),
    "_expunge deleted": (
        each(carry("middle", "_expunge", 3), remove("_expunge")),
        [("discarded", ("_expunge",), None, 3)],
    ),
    "_done tidied away": (
        each(rename("small", "_done/small"), remove("_done")),
        [("discarded", ("_done",), None, 2)],
    ),
    "_unsure in other words": (
        each(carry("middle", "_unsure", 3), rename("_unsure", "unsicher")),
        [("new", ("middle",), "unsicher", 3)],
    ),
    "a few files into a new class": (carry("big", "new", 3), [("new", ("big",), "new", 3)]),
    "two new classes": (
        each(carry("big", "new", 3), carry("middle", "newer", 2)),
        [("new", ("big",), "new", 3), ("new", ("middle",), "newer", 2)],
    ),
    "a safety copy": (
        each(copy("middle", "middle - Kopie"), empty("middle", leave=2)),
        [("new", ("middle",), "middle - Kopie", 14)],
    ),
    "many into a misspelt class": (carry("big", "Midle"), [("new", ("big",), "Midle", 20)]),
    "a file that was being copied": (
        each(
            empty("middle", leave=2),
            lambda tree: (tree / "middle" / ".rare_01_0.bmp.mJozKl").write_bytes(b"BM"),
        ),
        [("transfer", (), None, 14)],
    ),
}


@pytest.mark.parametrize("do", WORK.values(), ids=WORK)
def test_work_raises_no_question(project: Project, tree: Path, do: Do) -> None:
    do(tree)
    assert asked(project, tree) == []


@pytest.mark.parametrize(("do", "expected"), SLIPS.values(), ids=SLIPS)
def test_a_slip_is_asked_about(project: Project, tree: Path, do: Do, expected: list[Asked]) -> None:
    do(tree)
    assert asked(project, tree) == expected


RECORDED: dict[str, tuple[Do, Do, list[Asked]]] = {
    "_expunge thrown away": (
        carry("middle", "_expunge"),
        remove("_expunge"),
        [("discarded", ("_expunge",), None, 12)],
    ),
    "one file in _expunge thrown away": (
        carry("middle", "_expunge"),
        lambda tree: files(tree / "_expunge")[0].unlink(),
        [("discarded", ("_expunge",), None, 1)],
    ),
    "_done tidied away": (
        each(carry("small", "_done"), rename("tiny", "_done/tiny")),
        remove("_done"),
        [("discarded", ("_done",), None, 4)],
    ),
    "a finished class tidied away": (
        each(rename("small", "_done/small"), rename("tiny", "_done/tiny")),
        remove("_done/small"),
        [("discarded", ("_done",), None, 2)],
    ),
    "a second thought on some that were done": (
        rename("middle", "_done/middle"),
        empty("_done/middle/deep"),
        [],
    ),
    "_unsure thrown away": (
        carry("middle", "_unsure", 3),
        remove("_unsure"),
        [("discarded", ("_unsure",), None, 3)],
    ),
    "_unsure decided one by one": (
        carry("middle", "_unsure"),
        each(carry("_unsure", "big", 6), empty("_unsure", leave=1), carry("_unsure", "middle")),
        [],
    ),
    "all of many unsure back in their class": (carry("middle", "_unsure"), carry("_unsure", "middle"), []),
    "expunged after all": (carry("middle", "_expunge", 3), carry("_expunge", "big"), []),
    "a new class grows": (carry("big", "new", 3), carry("big", "new", 9), []),
    "restored from a backup": (
        empty("middle"),
        lambda tree: shutil.copytree(tree.parent / "kept", tree, dirs_exist_ok=True),
        [("restored", (), None, 16)],
    ),
    "restored in what is done": (
        each(empty("middle", leave=1), rename("middle", "_done/middle")),
        lambda tree: shutil.copytree(
            tree.parent / "kept" / "middle", tree / "_done" / "middle", dirs_exist_ok=True
        ),
        [("restored", (), None, 15)],
    ),
    "an untouched copy of a finished tree": (
        each(rename("middle", "_done/middle"), rename("big", "_done/big")),
        each(rename("_done/middle", "middle"), rename("_done/big", "big")),
        [("restored", (), None, 46)],
    ),
    "a small class moved to _done too early": (
        rename("small", "_done/small"),
        rename("_done/small", "small"),
        [],
    ),
    "one put back": (
        empty("middle"),
        lambda tree: shutil.copy(tree.parent / "kept" / "middle" / "rare_01_0.bmp", tree / "middle"),
        [],
    ),
    "a class and another day a class": (empty("big"), empty("middle"), []),
}


@pytest.mark.parametrize(("before", "do", "expected"), RECORDED.values(), ids=RECORDED)
def test_what_was_recorded_is_not_turned_unasked(project, tree, before: Do, do: Do, expected) -> None:
    before(tree)
    project.collect(tree, confirm=lambda _: True)
    do(tree)
    assert asked(project, tree) == expected


@pytest.mark.parametrize(
    ("there", "classes", "expected"),
    [
        (None, 1, [("transfer", (), None, 16)]),
        ("all", 1, [("transfer", (), None, 16)]),
        ("what is left", 1, []),
        ("all", 0, []),  # the watcher was stopped early, and the work went on
        (None, 0, []),
    ],
)
def test_a_tree_that_travelled_may_have_lost_classes(
    project: Project, tree: Path, tmp_path: Path, there: str | None, classes: int, expected: list[Asked]
) -> None:
    back = Path(shutil.copytree(tree, tmp_path / "back"))
    paths = [path.relative_to(back).as_posix() for path in files(back) if MARKER not in path.parts]
    empty("middle", leave=1 - classes)(back)  # as when a transfer that brings the folders first is broken off
    if there:  # as a watcher where it was reviewed wrote it
        left = [path for path in paths if there == "all" or (back / path).exists()]
        write_lines(back / MARKER / "after.txt", left)
    assert asked(project, back) == expected


def test_a_packer_may_lose_empty_folders(project: Project, tree: Path, tmp_path: Path) -> None:
    back = Path(shutil.copytree(tree, tmp_path / "back"))
    each(remove("_expunge", "_unsure", "_done"), empty("big", leave=20))(back)
    assert asked(project, back) == []


def test_an_untouched_tree_does_not_take_back_anothers_decisions(project, tree, tmp_path) -> None:
    other = tmp_path / "other"
    export_again(project, IMAGES, other)
    empty("middle")(tree)
    project.collect(tree)
    found = project.collect(other)
    assert (found.changed, found.remarks, len(found.open)) == ([], [], 50)
    rename("middle", "_done/middle")(other)
    found = project.collect(other)
    assert found.remarks[0].startswith(f"16 earlier decisions, made in {tree}, are overturned")
    assert project.collect(other).remarks == []


@pytest.mark.parametrize("name", ["middle", "middle/rare_01_0.bmp"])
def test_a_link_is_not_taken_for_a_deletion(project: Project, tree: Path, tmp_path: Path, name: str) -> None:
    (tree / name).rename(tmp_path / "elsewhere")
    (tree / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TreeUnavailable, match=f"^{name} in the review tree is a link"):
        project.collect(tree, confirm=lambda _: True)
    assert project.status().verdicts == {}


def test_a_question_says_what_was_found_and_what_it_would_mean(project: Project, tree: Path) -> None:
    each(rename("small", "big/small"), carry("tiny", "bigg", 1), remove("middle", "_unsure"))(tree)
    with pytest.raises(NotConfirmed) as refused:
        project.collect(tree)
    assert refused.value.message.splitlines() == [
        "Nothing was recorded, for this was not confirmed:",
        "  - The folder bigg is new and holds images of tiny (1 file, 2% of the tree). Is bigg a new class, and the label of"
        " all of these? Did you mean big?",
        "  - The folder small lies in big now (2 files, 4% of the tree). Shall all of these get the label of big?",
        "  - The folder middle is gone (16 files, 32% of the tree). Were all of these labelled right?",
        "  - The folder _unsure is gone, and files are missing (16 files, 32% of the tree). What lay there would count as"
        " labelled right. Was it empty?",
    ]
    assert "--yes" in refused.value.hint


def test_a_class_is_known_by_its_own_name_too(tmp_path: Path) -> None:
    """The tree's folder for it has a name that every platform takes."""
    project = exported_project(tmp_path, {f"a: b/{n}.bmp": "c" for n in range(2)} | {"c/0.bmp": "a: b"})
    assert not (tmp_path / "tree" / "a: b").exists()
    carry("c", "a: b")(tmp_path / "tree")
    found = project.collect()
    assert [(v.verdict, v.label) for v in found.review.verdicts if v.file.given == "c"] == [
        ("relabel", "a: b")
    ]
    assert found.remarks == []


@pytest.mark.parametrize("name", [".sorted", "new ", "middle.", "CON", "new\nline", "a:b"])
def test_what_no_class_can_be_called_is_unsure(project: Project, tree: Path, name: str) -> None:
    carry("big", name, 2)(tree)
    found = project.collect(tree)
    moved = [v for v in found.review.verdicts if not v.now_at.startswith(v.file.path.split("/")[0])]
    assert [(v.verdict, v.label) for v in moved] == [("unsure", "big")] * 2
    (remark,) = found.remarks
    assert remark.startswith(f'No class can be called "{name.encode("unicode_escape").decode()}"')
    assert "2 images" in remark
