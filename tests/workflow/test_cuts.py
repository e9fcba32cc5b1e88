"""Commands cut off before each step that can be seen from outside, and then given again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from dupekit import Selection, Style
from dupekit.errors import NothingToDo, UsageError
from dupekit.project import Project
from dupekit.review.manifest import MARKER
from dupekit.review.style import Order
from tests.support import CLASSES, call_back, tree_state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands are forked")

# Forks a child for each line it reads, which names a step; says how that child ended. A step is whatever makes, renames or
# removes a file, as Python's audit tells it: also SQLite's are between two of these.
SCRIPT = """
import errno, os, sys, traceback
from pathlib import Path
from dupekit.project import Project
how, command = sys.argv[1:]
os.sync = lambda: None
STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink"}
for line in sys.stdin:
    child = os.fork()
    if not child:
        left = int(line)
        def cut(event, values):
            global left
            writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)
            if event in STEPS or writes:
                left -= 1
                if how == "killed" and left == 0:
                    os._exit(9)
                if how == "interrupted" and left == 0:
                    raise KeyboardInterrupt
                if how == "full" and left <= 0 and (writes or event != "os.remove" and event != "os.rmdir"):
                    raise OSError(errno.ENOSPC, "No space left on device")
        sys.addaudithook(cut)
        code = 1
        try:
            exec(command)
            code = 0 if left > 0 else 9
        except KeyboardInterrupt:
            code = 9
        except Exception:
            if left > 0:
                traceback.print_exc()
            code = 1 if left > 0 else 9
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Cutter:
    """Gives one command again and again, each time cut off a step later, or `stride` steps, from the same beginning."""

    folder: Path
    """All that the command can change."""
    command: str
    how: str
    stride: int = 1

    def __iter__(self) -> Iterator[int]:
        saved = self.folder.with_name(f"{self.folder.name}-saved")
        shutil.copytree(self.folder, saved, symlinks=True)
        root = Path(__file__).parent.parent.parent
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, self.how, self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        ) as child:
            assert child.stdin
            assert child.stdout
            with closing(child.stdin):
                for step in range(1, 500, self.stride):
                    child.stdin.write(f"{step}\n")
                    child.stdin.flush()
                    code = int(child.stdout.readline())
                    assert code in (0, 9)
                    if code == 0:
                        assert step > 5
                        return
                    yield step
                    shutil.rmtree(self.folder)
                    shutil.copytree(saved, self.folder, symlinks=True)
        raise AssertionError("never came to its end")


def stride_of(how: str) -> int:
    """Kills are at every step; the other ways end at the same places, and are tried at a third of them."""
    return 1 if how == "killed" else 3


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != MARKER]


def again(command: Callable[[], object], done: str) -> None:
    """The same command: to its end, or refused because it has been there."""
    try:
        command()
    except (UsageError, NothingToDo) as error:
        assert done in error.message  # noqa: PT017 - either is right


@pytest.fixture
def tmp_path(monkeypatch) -> Iterator[Path]:
    """In memory, where the system has such: hundreds of commands wait for the disk otherwise."""
    monkeypatch.setattr(os, "sync", lambda: None)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        made = Path(folder) / "cut"
        made.mkdir()
        yield made


@pytest.fixture
def exported(trained: Project) -> Project:
    trained.flag(threshold=3)
    return trained


@pytest.fixture
def collected(exported: Project, tmp_path: Path) -> Project:
    exported.export(tmp_path / "tree")
    exported.collect(tmp_path / "tree", finished=CLASSES)
    return exported


@pytest.mark.parametrize("how", ["killed", "interrupted", "full"])
@pytest.mark.timeout(300)
class TestCutOff:
    """By a kill, Ctrl-C or a disk that is full from then on."""

    def test_init(self, dataset: Path, tmp_path: Path, how: str) -> None:
        place = tmp_path / "made" / "project"
        place.parent.mkdir()
        for _ in Cutter(
            place.parent,
            f"Project.create(Path({str(dataset)!r}), Path({str(place)!r})).scan()",
            how,
            stride_of(how),
        ):
            again(lambda: Project.create(dataset, place), "is a dupekit project already")
            Project(place).scan()
            assert Project(place).verify().differences == []
            assert Project(place).status().images == 36
            assert leftovers(place.parent) == []

    def test_export(self, exported: Project, tmp_path: Path, how: str) -> None:
        tree = tmp_path / "tree"
        command = f"Project(Path({str(exported.path)!r})).export(Path({str(tree)!r}))"
        for _ in Cutter(tmp_path, command, how, stride_of(how)):
            project = Project(exported.path)
            again(lambda p=project: p.export(tree), "it is the review tree that was exported")
            found = project.collect()
            assert (found.tree, found.remarks, len(found.review.verdicts)) == (tree, [], 2)
            assert project.verify(quick=True).differences == []
            keys = {export.key[:8] for export in project.status().exports}
            assert {path.name for path in (project.path / "rounds/01/exports").iterdir()} == keys
            assert len(keys) == 1
            assert leftovers(tmp_path) == []

    def test_apply(self, collected: Project, tmp_path: Path, how: str) -> None:
        collected.apply(tmp_path / "fixed")
        right = tree_state(tmp_path / "fixed")
        shutil.rmtree(tmp_path / "fixed")
        collected.undo()
        steps = len(collected.history())
        command = f"Project(Path({str(collected.path)!r})).apply(Path({str(tmp_path / 'fixed')!r}))"
        for _ in Cutter(tmp_path, command, how, stride_of(how)):
            project = Project(collected.path)
            again(
                lambda p=project: p.apply(tmp_path / "fixed"), "it is the corrected dataset that was applied"
            )
            assert tree_state(tmp_path / "fixed") == right
            assert len(project.history()) == steps + 1
            assert project.verify(quick=True).differences == []
            assert leftovers(tmp_path) == []

    def test_next(self, collected: Project, tmp_path: Path, how: str) -> None:
        collected.apply(tmp_path / "fixed")
        for _ in Cutter(
            collected.path, f"Project(Path({str(collected.path)!r})).next_round()", how, stride_of(how)
        ):
            project = Project(collected.path)
            again(project.next_round, "is closed")
            assert project.dataset == tmp_path / "fixed"
            assert project.verify(quick=True).differences == []
            assert project.status().images == 36
            assert leftovers(project.path) == []


def test_export_to_its_default_place(exported: Project, tmp_path: Path) -> None:
    """The place is free again, and the same images are drawn: what was cut off leaves no trace."""
    wanted = "Selection(limit=1, audit=4), Style(Order.RANK, enlarge=None)"
    command = (
        "from dupekit import Selection, Style; from dupekit.review.style import Order;"
        f"Project(Path({str(exported.path)!r})).export(None, {wanted})"
    )
    selection, style = Selection(limit=1, audit=4), Style(Order.RANK, enlarge=None)
    seen = set()
    for _ in Cutter(tmp_path, command, "killed", stride=3):
        project = Project(exported.path)
        made = project.export(selection=selection, style=style)
        known = {Path(export.tree).name for export in project.status().exports}
        assert (made.tree.name, known) in (("dupes", {"dupes"}), ("dupes-2", {"dupes", "dupes-2"}))
        if made.tree.name == "dupes":
            seen.add(tuple(file.path for file in made.manifest.files))
        assert project.collect(made.tree).remarks == []
        assert project.verify(quick=True).differences == []
        assert leftovers(tmp_path) == []
    assert len(seen) == 1


@pytest.mark.long
def test_export_to_another_place(exported: Project, tmp_path: Path) -> None:
    command = f"Project(Path({str(exported.path)!r})).export(Path({str(tmp_path / 'tree')!r}))"
    for _ in Cutter(tmp_path, command, "killed", stride=3):
        project = Project(exported.path)
        call_back(project)
        project.export(tmp_path / "other")
        assert project.collect().remarks == []
        for export in project.status().exports:
            remarks = project.collect(Path(export.tree)).remarks
            assert [r for r in remarks if not r.startswith("This tree was called back")] == []
