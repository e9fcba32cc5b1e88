"""The journey of a review tree: packed, unpacked elsewhere, watched and cleaned there, sent back, collected."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.errors import TreeUnavailable
from dupekit.files.write import write_lines
from dupekit.project import Project
from dupekit.review.event_log import EVENTS, Event, append_events
from dupekit.review.manifest import MARKER, read_manifest, write_manifest
from dupekit.review.verdicts import tree_manifest
from dupekit.review.watch.watcher import follow
from dupekit.testing import make_dataset
from dupekit.workflow.collect import all_finished
from tests.support import call_back

CLASSES = ("Größe ä", "ciliate", "diatom")


@pytest.fixture
def away(tmp_path: Path, fast: dict[str, object]) -> tuple[Project, Path]:
    """A project with a review tree of at least three dupes, names beyond ASCII among them."""
    dataset = tmp_path / "data"
    make_dataset(dataset, classes=CLASSES, per_class=12, seed=3)
    for number, (source, target) in enumerate([(0, 1), (1, 2), (2, 0), (0, 2)]):
        file = sorted((dataset / CLASSES[source]).glob("0*.png"))[0]
        file.rename(dataset / CLASSES[target] / f"wrong_é{number}.png")
    project = Project.create(dataset, tmp_path / "project")
    project.scan()
    assert not project.train(Choices(pairs=3, **fast)).failed
    project.flag(threshold=3)
    return project, project.export(tmp_path / "sent").tree


def events(project: Project) -> list[dict[str, str]]:
    """What the project's log of the tree holds."""
    log = project.folder_of(project.tree()[0]) / EVENTS
    return [json.loads(line) for line in log.read_text().splitlines()]


def by_tar(tree: Path, target: Path) -> None:
    with tarfile.open(target.with_suffix(".tar"), "w") as packed:
        packed.add(tree, "tree")
    with tarfile.open(target.with_suffix(".tar")) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later
        packed.extractall(target.parent / f"{target.name}.unpacked")
    (target.parent / f"{target.name}.unpacked" / "tree").rename(target)


def by_zip_of_files(tree: Path, target: Path) -> None:
    """As programs do that store no folders: empty ones are lost."""
    with zipfile.ZipFile(target.with_suffix(".zip"), "w") as packed:
        for file in tree.rglob("*"):
            if file.is_file():
                packed.write(file, file.relative_to(tree))
    with zipfile.ZipFile(target.with_suffix(".zip")) as packed:
        packed.extractall(target)
    assert not (target / "_unsure").exists()


def renaming(change: Callable[[str], str]) -> Callable[[Path, Path], None]:
    """All names but the marker's come out changed, as from a file system with other rules."""

    def carry(tree: Path, target: Path) -> None:
        for file in tree.rglob("*"):
            parts = file.relative_to(tree).parts
            if file.is_file():
                place = target.joinpath(*(parts if parts[0] == MARKER else map(change, parts)))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)

    return carry


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


JOURNEYS = {
    "tar": by_tar,
    "zip": by_zip_of_files,
    "NFD": renaming(nfd),
    "upper": renaming(str.upper),
    "NFD upper": renaming(lambda name: nfd(name.upper())),
}


def named(folder: Path, name: str) -> Path:
    """An entry of a folder by its name in whatever case and form it came; made where it was lost."""
    key = unicodedata.normalize("NFC", name).casefold()
    for entry in folder.iterdir():
        if unicodedata.normalize("NFC", entry.name).casefold() == key:
            return entry
    (folder / name).mkdir()
    return folder / name


def clean(tree: Path, paths: list[str]) -> None:
    """Deletes the first, moves the second into _expunge, the third into _unsure, the rest, which is finished, into _done."""
    files = [named(named(tree, folder), name) for folder, name in (path.split("/") for path in paths)]
    files[0].unlink()
    for file, folder in zip_longest(files[1:], ("_expunge", "_unsure"), fillvalue="_done"):
        file.rename(named(tree, folder) / file.name)


@pytest.mark.parametrize("out", JOURNEYS)
@pytest.mark.parametrize("back", ["tar", "NFD"])
def test_a_journey_changes_no_verdict_and_brings_the_events(away, tmp_path, out: str, back: str) -> None:
    project, sent = away
    manifest = tree_manifest(sent)
    assert len(manifest.files) >= 3
    there = tmp_path / "technician" / "tree"
    there.parent.mkdir()
    JOURNEYS[out](sent, there)
    stop, cleaned = threading.Event(), False
    for snapshot in follow(there, tree_manifest(there), there / MARKER, stop=stop):
        assert snapshot.review is not None
        if not cleaned:
            assert {v.verdict for v in snapshot.review.verdicts} == {"open"}
            clean(there, [file.path for file in manifest.files])
            cleaned = True
        elif len({v.verdict for v in snapshot.review.verdicts}) >= 3 and snapshot.events:
            stop.set()
    if back != "tar":
        (there / "_unsure").mkdir(exist_ok=True)
        (there / "_unsure" / "emptied").mkdir()  # and lost
    JOURNEYS[back](there, tmp_path / "back")
    shutil.rmtree(sent)

    # A folder that was emptied may be lost on the way, which is asked about.
    found = project.collect(tmp_path / "back", confirm=lambda asked: True)
    expected = ["correct", "expunge", "unsure", *["relabel"] * (len(manifest.files) - 3)]
    assert [v.verdict for v in found.review.verdicts] == expected
    assert [v.label for v in found.review.verdicts if v.verdict == "relabel"] == [
        file.suggested for file in manifest.files[3:]
    ]
    assert (found.review.strangers, found.remarks) == ([], [])
    logged = [json.loads(line) for line in (there / MARKER / EVENTS).read_text().splitlines()]
    assert "deleted" in {event["kind"] for event in logged}
    assert found.events == len(logged)
    assert events(project) == [{**event, "source": "tree"} for event in logged]
    again = project.collect(tmp_path / "back")
    assert (again.changed, again.events, len(events(project))) == ([], 0, len(logged))


def line(kind: str, path: str, at: str = "2026-01-01T00:00:00+00:00") -> bytes:
    return json.dumps({"at": at, "kind": kind, "path": path, "target": ""}).encode() + b"\n"


def test_a_growing_log_adds_what_is_new(away) -> None:
    project, tree = away
    log = tree / MARKER / EVENTS
    twice = line("deleted", "a") + line("created", "a") + line("deleted", "a")  # within one second
    log.write_bytes(twice)
    assert project.collect().events == 3
    assert project.collect().events == 0
    log.write_bytes(twice + line("deleted", "a") + line("deleted", "b"))
    assert project.collect().events == 2
    log.write_bytes(line("deleted", "c"))  # from a second copy of the tree
    assert project.collect().events == 1
    assert [(event["kind"], event["path"]) for event in events(project)] == [
        ("deleted", "a"), ("created", "a"), ("deleted", "a"), ("deleted", "a"), ("deleted", "b"), ("deleted", "c"),
    ]  # fmt: skip


def test_what_the_projects_own_watcher_saw_is_apart(away) -> None:
    project, tree = away
    seen = Event("2026-01-01T00:00:00+00:00", "deleted", "a")
    append_events(project.folder_of(project.tree()[0]) / EVENTS, [seen])
    (tree / MARKER / EVENTS).write_bytes(line("deleted", "a"))
    assert project.collect().events == 1
    row = {"at": seen.at, "kind": "deleted", "path": "a", "target": ""}
    assert events(project) == [row, {**row, "source": "tree"}]
    assert project.collect().events == 0


def test_an_overflow_is_of_no_path_and_no_garbage(away) -> None:
    project, tree = away
    append_events(tree / MARKER / EVENTS, [Event("2026-01-01T00:00:00+00:00", "overflow", None)])
    found = project.collect()
    assert (found.events, found.remarks) == (1, [])


def test_a_log_is_not_followed_through_a_link(away, tmp_path: Path) -> None:
    project, tree = away
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_bytes(line("deleted", "a"))
    (tree / MARKER / EVENTS).symlink_to(elsewhere)
    found = project.collect()
    assert found.events == 0
    assert "events.jsonl cannot be read" in found.remarks[0]
    with pytest.raises(OSError, match=r"events\.jsonl"):
        append_events(tree / MARKER / EVENTS, [Event("2026-01-01T00:00:00+00:00", "deleted", "b")])
    assert elsewhere.read_bytes() == line("deleted", "a")


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_half_written_last_line_is_waited_for(away, cut: int) -> None:
    project, tree = away
    log, last = tree / MARKER / EVENTS, line("deleted", "b")
    log.write_bytes(line("deleted", "a") + last[:cut])
    found = project.collect()
    assert (found.events, found.remarks) == (1, [])
    log.write_bytes(line("deleted", "a") + last)
    assert project.collect().events == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b"7\n",
        b'{"at": "2026-01-01T00:00:00+00:00", "kind": "deleted"}\n',
        b'{"at": "2026-01-01T00:00:00+00:00", "kind": "deleted", "path": 7}\n',
        b'{"at": "2026-01-01T00:00:00+00:00", "kind": "deleted", "path": "\\ud800"}\n',
        b'{"at": "yesterday", "kind": "deleted", "path": "a"}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_garbage_in_the_log_is_reported_and_stops_nothing(away, garbage: bytes) -> None:
    project, tree = away
    (tree / MARKER / EVENTS).write_bytes(line("deleted", "a") + garbage + line("deleted", "b"))
    found = project.collect()
    assert found.events == 2
    (remark,) = found.remarks
    assert remark.endswith("1 lines are no events and left out, the first is line 2.")


def edit_manifest(tree: Path) -> None:
    file = tree / MARKER / "manifest.json"
    manifest = read_manifest(file)
    write_manifest(manifest.model_copy(update={"files": manifest.files[1:]}), file)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (edit_manifest, "manifest.json was edited"),
        (lambda tree: (tree / MARKER / "manifest.json").unlink(), "manifest.json cannot be read"),
        (
            lambda tree: (tree / MARKER / "manifest.json").write_text("{}"),
            "is not a manifest of a review tree: export: Field required",
        ),
        (lambda tree: write_lines(tree / MARKER / "before.txt", ["a/b.png"]), "before.txt was edited"),
        (lambda tree: (tree / MARKER / "before.txt").write_bytes(b"\xff\n"), "before.txt cannot be read"),
        (lambda tree: (tree / MARKER / "before.txt").unlink(), "before.txt cannot be read"),
    ],
)
def test_an_edited_marker_folder_is_said_and_not_believed(away, edit, said: str) -> None:
    project, tree = away
    count = len(tree_manifest(tree).files)
    edit(tree)
    found = project.collect()
    assert {v.verdict for v in found.review.verdicts} == {"open"}
    assert len(found.review.verdicts) == count
    (remark,) = found.remarks
    assert said in remark
    assert "the project's own is believed" in remark


def test_line_ends_changed_on_the_way_are_no_edit(away) -> None:
    project, tree = away
    for name in ("manifest.json", "before.txt"):
        file = tree / MARKER / name
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert project.collect().remarks == []


def test_a_tree_of_another_export_at_the_default_place_is_refused(away, tmp_path) -> None:
    """Somebody unpacked the earlier tree over the place of the later one."""
    project, first = away
    call_back(project)
    second = project.export(tmp_path / "second").tree
    shutil.rmtree(second)
    shutil.copytree(first, second)
    with pytest.raises(TreeUnavailable, match="holds the tree of another export"):
        project.collect()
    assert project.status().verdicts == {}
    assert (
        len(project.collect(second, finished=all_finished).changed) > 0
    )  # named, it is known as the first export's
