"""Any operations in any order: a watcher changes nothing, collecting twice neither, and content decides.

A machine does every operation in two equal trees. In one a watcher runs, and is stopped, killed and started;
the other is left alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from PIL import Image

from dupekit.errors import NothingToDo
from dupekit.files.write import read_lines
from dupekit.ledger import Ledger, exports, images, rounds
from dupekit.project import Project
from dupekit.review.listing import list_tree
from dupekit.review.manifest import MARKER, Manifest
from dupekit.review.verdicts import Review, in_one_spelling, read_tree
from dupekit.review.verdicts import finished as as_finished
from dupekit.review.watch.watcher import Snapshot, follow
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from dupekit.workflow.exports import keep
from tests.review.oracle import CLUTTER, TRASH, Said, allowed, contents

CLASSES = ["amoeba", "ciliate: with cilia", "diatom_ä", "rotifer"]
# Path in the dataset -> content and suggested label. There are namesakes of other content (001), equal contents
# of another name (same and other) and of the same name (twin); all files are equally old, and of two lengths.
IMAGES = {
    "amoeba/001.bmp": (1, "rotifer"),
    "amoeba/two words.bmp": (2, "diatom_ä"),
    "amoeba/under_score_9.bmp": (3, "rotifer"),
    "amoeba/twin.bmp": (4, "rotifer"),
    "ciliate: with cilia/001.bmp": (5, "rotifer"),
    "ciliate: with cilia/other.bmp": (6, "amoeba"),
    "ciliate: with cilia/sub folder/é_1.bmp": (7, "amoeba"),
    "ciliate: with cilia/twin.bmp": (4, "rotifer"),
    "diatom_ä/same.bmp": (6, "amoeba"),
    "diatom_ä/Ümläut.bmp": (8, "ciliate: with cilia"),
    "diatom_ä/sub/001.bmp": (9, "rotifer"),
}
SPECIAL = [("",), ("",), ("001",), ("twin", "other", "same")]
"""What names hold, of the files to choose from: any, namesakes, equal contents."""
PLACES = ["amoeba", "ciliate_ with cilia", "diatom_ä/deeper", "rotifer", "new", "_expunge", "_unsure", ""]
PLACES += [
    "_done",
    "_done/amoeba",
    "_right",
    "_done/_done/diatom_ä",
    "rotifer/_done",
    "_right/amoeba/_unsure",
]
PLACES += ["_done/sub", "_done/new", "_DONE/ciliate_ with cilia/sub folder"]
PLACES += [".later", "ciliate: with cilia"]  # no class can be called so; a class by its own name
SMALL = [path for path in IMAGES if path.endswith(("001.bmp", "other.bmp", "same.bmp"))][:5]
"""In a tree of few files that are easily mistaken, operations meet more often."""
number = st.integers(0, 99)
place = st.sampled_from(PLACES + TRASH)
State = dict[str, Said]


def make_project(folder: Path, exported: Iterable[str]) -> None:
    """A project with an exported tree, without a training."""
    dataset, tree = folder / "data", folder / "tree"
    for path, (content, _) in IMAGES.items():
        file = dataset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4 + content % 2), content).save(file)
        os.utime(file, (1_000_000_000, 1_000_000_000))  # as from an archive
    (dataset / "rotifer").mkdir()
    shutil.copy(dataset / "amoeba" / "001.bmp", dataset / "rotifer" / "not flagged.bmp")
    project = Project.create(dataset, folder / "project")
    project.scan()
    with Ledger(project.path / "ledger.db") as ledger:
        rounds.begin(ledger, number=1, dataset=str(dataset), pairs=1, images=len(IMAGES), plan="{}")
        found = {source.path: source for source in images.present(ledger)}
        dupes = [
            Suspect(
                found[path].image, path, found[path].digest, path.split("/")[0], suggested, 1, 1.0, 0.1, 0.9
            )
            for path in exported
            for _, suggested in [IMAGES[path]]
        ]
        manifest = plan_tree(dupes, CLASSES, round_number=1, pairs=1, created="")
        manifest = write_tree(manifest, dataset, tree)
        files = {file.path: exports.FileRecord(found[file.original].image) for file in manifest.files}
        exports.record(ledger, round_number=1, key=manifest.export, tree=str(tree), files=files)
    keep(project.folder_of(project.tree(tree)[0]), manifest)


def said(found: Review) -> State:
    return {v.file.path: (v.verdict, v.label) for v in found.verdicts}


def remaining(found: Review) -> list[str]:
    return sorted((v.now_at for v in found.verdicts if v.now_at), key=str.encode)


def recorded(project: Project) -> tuple[State, set[tuple[str, str]]]:
    """The ledger's verdicts, and the ignore list that follows from them."""
    with Ledger(project.path / "ledger.db") as ledger:
        rows = ledger.rows(
            "SELECT path, verdict, label FROM current_verdicts AS v JOIN exported_files AS f ON f.image = v.image"
        )
        current = {path: (verdict, label) for path, verdict, label in rows}
    return current, {(entry.digest, entry.label) for entry in project.ignores()}


def move(tree: Path, source: str, target: str) -> None:
    (tree / target).parent.mkdir(parents=True, exist_ok=True)
    (tree / source).replace(tree / target)


def hurried(ledger: Ledger) -> Ledger:
    ledger.connection.execute("PRAGMA synchronous = OFF")
    return ledger


def renamed(name: str, form: str) -> str:
    """As another computer writes the same name."""
    return {"": name, "case": name.swapcase(), "nfd": unicodedata.normalize("NFD", name)}[form]


@dataclass(frozen=True)
class Collected:
    """What is recorded."""

    decided: State
    confirmed: set[tuple[str, str]]
    """The ignore list."""
    finished: frozenset[str]


class Reviewing(RuleBasedStateMachine):
    """`fresh` holds a project and its tree, `tree` and `project`."""

    def __init__(self, fresh: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=fresh.parent))
        self.fresh = fresh / "tree"
        self.sides = [self.folder / "alone", self.folder / "watched"]
        for side in self.sides:
            shutil.copytree(fresh / "project", side / "project")
            shutil.copytree(fresh / "tree", side / "tree")
        self.projects = [Project(side / "project") for side in self.sides]
        self.alone, self.watched = self.trees = [side / "tree" for side in self.sides]
        self.manifest: Manifest = self.projects[0].manifest_of(self.projects[0].tree(self.alone)[0])
        self.count = 0
        self.done, self.looks_every = 0, 1
        self.changed = True
        """Since the last collect."""
        self.outside: list[str] = []
        """Paths of the files that lie beside the trees, by their number."""
        self.before = [Collected({}, set(), frozenset())]
        """What was recorded before each collect, and now."""
        self.snapshots: Generator[Snapshot] | None = None
        self.stop = threading.Event()
        self.last = (list_tree(self.watched).files, Review([]))
        """The tree as the watcher saw it, and what it said."""

    def teardown(self) -> None:
        try:
            if self.snapshots is not None:
                self.stop_watcher()
            self.collect()
        finally:
            if self.snapshots is not None:
                self.snapshots.close()
            shutil.rmtree(self.folder)

    # What a technician does, the same in both trees.

    def files(self) -> list[str]:
        paths = [p.relative_to(self.alone) for p in self.alone.rglob("*") if p.is_file()]
        return sorted(p.as_posix() for p in paths if MARKER not in p.parts)

    def pick(self, n: int, among: tuple[str, ...] = ()) -> str:
        files = self.files()
        wanted = among or SPECIAL[n % 4]
        chosen = [file for file in files if any(part in file for part in wanted)] or files
        return chosen[n // 4 % len(chosen)]

    def new(self) -> str:
        self.count += 1
        return str(self.count)

    def do(self, what: Callable[[Path], object]) -> None:
        for tree in self.trees:
            what(tree)
        self.done += 1
        self.changed = True
        if self.done % self.looks_every == 0:
            self.let_it_look()

    has_files = precondition(lambda self: self.files())

    @has_files
    @rule(n=number)
    def delete(self, n: int) -> None:
        file = self.pick(n)
        self.do(lambda tree: (tree / file).unlink())

    @has_files
    @rule(n=number, to=place)
    def move(self, n: int, to: str) -> None:
        file = self.pick(n)
        self.do(lambda tree: move(tree, file, f"{to}/{Path(file).name}".lstrip("/")))

    @has_files
    @rule(n=number, to=place)
    def move_and_rename(self, n: int, to: str) -> None:
        file, new = self.pick(n), self.new()
        self.do(lambda tree: move(tree, file, f"{to}/new {new}.bmp".lstrip("/")))

    @has_files
    @rule(n=number, how=st.sampled_from(["new", "case", "nfd"]))
    def rename(self, n: int, how: str) -> None:
        file = Path(self.pick(n))
        name = f"ä {self.new()}.bmp" if how == "new" else renamed(file.name, how)
        self.do(lambda tree: move(tree, file.as_posix(), file.with_name(name).as_posix()))

    @has_files
    @rule(n=number, to=st.none() | place, form=st.sampled_from(["", "case", "nfd"]), longer=st.booleans())
    def edit(self, n: int, to: str | None, form: str, longer: bool) -> None:
        """In place, or and move; some programs write the name in their own way."""
        file, new = self.pick(n), self.new().encode()

        def edit(tree: Path) -> None:
            with (tree / file).open("r+b") as out:
                out.seek(0 if longer else -len(new), os.SEEK_END)
                out.write(new)
            folder = Path(file).parent if to is None else Path(to)
            move(tree, file, (folder / renamed(Path(file).name, form)).as_posix())

        self.do(edit)

    @has_files
    @rule(n=number, to=place, name=st.booleans())
    def copy(self, n: int, to: str, name: bool) -> None:
        file = self.pick(n)
        target = f"{to}/{Path(file).name if name else f'copy {self.new()}.bmp'}".lstrip("/")
        if target == file:
            return

        def copy(tree: Path) -> None:
            (tree / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / file, tree / target)

        self.do(copy)

    @has_files
    @rule(n=number)
    def take_out(self, n: int) -> None:
        file = self.pick(n)
        self.do(lambda tree: move(tree, file, f"../outside/{len(self.outside)}"))
        self.outside.append(file)

    @precondition(lambda self: self.outside)
    @rule()
    def put_back(self) -> None:
        file = self.outside.pop()
        self.do(lambda tree: move(tree, f"../outside/{len(self.outside)}", file))

    @has_files
    @rule(
        n=number,
        nth=st.integers(1, 3),
        among=st.sampled_from([("001",), ("",)]),
        how=st.sampled_from(["swap", "swap", "move onto", "copy onto"]),
    )
    def one_in_place_of_another(self, n: int, nth: int, among: tuple[str, ...], how: str) -> None:
        one, other = self.pick(n, among), self.pick(n + 4 * nth, among)
        if one == other:
            return

        def put(tree: Path) -> None:
            if how == "copy onto":
                shutil.copy2(tree / one, tree / other)
                return
            if how == "swap":
                (tree / other).rename(tree / "kept")
            (tree / one).replace(tree / other)
            if how == "swap":
                (tree / "kept").rename(tree / one)

        self.do(put)

    @has_files
    @rule(n=number, m=number, form=st.sampled_from(["", "case", "nfd"]))
    def to_an_exported_place(self, n: int, m: int, form: str) -> None:
        file = self.pick(n)
        paths = [Path(exported.path) for exported in self.manifest.files]
        if m % 2:
            paths = [p for p in paths if p.name == Path(file).name and p != Path(file)] or paths
        place = paths[m // 2 % len(paths)]
        target = place.with_name(renamed(place.name, form)).as_posix()
        self.do(lambda tree: move(tree, file, target))

    @rule(n=st.none() | number)
    def restore(self, n: int | None) -> None:
        """One file or all, from a backup."""
        paths = [file.path for file in self.manifest.files]
        paths = paths if n is None else [paths[n % len(paths)]]

        def copy(tree: Path) -> None:
            for path in paths:
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.fresh / path, tree / path)

        self.do(copy)

    @rule(
        n=number,
        to=st.sampled_from(
            [
                "",
                "NEW",
                "case",
                "nfd",
                "rotifer",
                "_expunge",
                TRASH[0],
                "_done",
                "_done",
                "_done/_done",
                "_right",
            ]
        ),
    )
    def whole_folder(self, n: int, to: str) -> None:
        """Delete, rename or move one at the top."""
        folders = sorted({file.split("/")[0] for file in self.files() if "/" in file})
        if not folders:
            return
        folder = folders[n % len(folders)]
        target = f"{to}/{folder}"
        if to in ("case", "nfd"):
            target = renamed(folder, to)
        elif to == "NEW":
            target = f"new {self.new()}"
        if to == "":
            self.do(lambda tree: shutil.rmtree(tree / folder))
        elif not (self.alone / target).exists() and not target.startswith(f"{folder}/"):
            self.do(lambda tree: move(tree, folder, target))

    @rule(n=number, nth=st.integers(1, 3))
    def exchange_folders(self, n: int, nth: int) -> None:
        folders = sorted({file.split("/")[0] for file in self.files() if "/" in file})
        if not folders or (one := folders[n % len(folders)]) == (other := folders[(n + nth) % len(folders)]):
            return

        def exchange(tree: Path) -> None:
            (tree / one).rename(tree / "kept")
            (tree / other).rename(tree / one)
            (tree / "kept").rename(tree / other)

        self.do(exchange)

    @rule()
    def carry(self) -> None:
        """To another computer and back: every file is a new one."""

        def copy(tree: Path) -> None:
            for path in [path for path in tree.iterdir() if path.name != MARKER]:
                path.rename(self.folder / "carried")
                (shutil.copytree if (self.folder / "carried").is_dir() else shutil.copy2)(
                    self.folder / "carried", path
                )
                shutil.move(self.folder / "carried", tempfile.mkdtemp(dir=self.folder))

        self.do(copy)

    @has_files
    @rule(n=number, to=place, name=st.sampled_from(CLUTTER))
    def clutter(self, n: int, to: str, name: str) -> None:
        file = self.pick(n)

        def put(tree: Path) -> None:
            (tree / to).mkdir(parents=True, exist_ok=True)
            content = (tree / file).read_bytes()  # a preview, or a sidecar with the same content
            (tree / to / name).write_bytes(content)

        self.do(put)

    # What dupekit does.

    @invariant()
    def it_reads_what_is_beyond_doubt(self) -> None:
        found = read_tree(self.alone, self.manifest).review
        verdicts = said(found)
        assert list(verdicts) == [file.path for file in self.manifest.files]
        assert sorted(remaining(found) + found.strangers) == sorted(contents(self.alone))
        expected = allowed(self.alone, self.manifest)
        assert not {path: (verdicts[path], e) for path, e in expected.items() if verdicts[path] not in e}

    @initialize(every=st.sampled_from([1, 2, 4, 99]))
    def begin(self, every: int) -> None:
        self.looks_every = every
        self.start_watcher()

    @precondition(lambda self: self.snapshots is None)
    @rule()
    def start_watcher(self) -> None:
        self.stop = threading.Event()
        self.snapshots = follow(
            self.watched, self.manifest, self.watched / MARKER, stop=self.stop, poll_s=0.01
        )
        self.heed(next(self.snapshots))

    def let_it_look(self) -> None:
        if self.snapshots is not None and self.last[0] != list_tree(self.watched).files:
            never = threading.Timer(30, self.stop.set)
            never.start()
            found = next(self.snapshots)
            never.cancel()
            assert not found.last, "the watcher saw no change"
            self.heed(found)

    @precondition(lambda self: self.snapshots is not None)
    @rule()
    def stop_watcher(self) -> None:
        assert self.snapshots is not None
        self.stop.set()
        (*_, last) = self.snapshots
        self.snapshots = None
        assert last.last
        self.heed(last)

    @precondition(lambda self: self.snapshots is not None)
    @rule()
    def kill_watcher(self) -> None:
        """It ends without a last look, and leaves what a dead process leaves."""
        marker = self.watched / MARKER
        holder = (marker / "watch.lock.holder").read_bytes()
        assert self.snapshots is not None
        self.snapshots.close()
        self.snapshots = None
        (marker / "watch.lock.holder").write_bytes(holder)
        (marker / ".after.txt.x.partial").write_text("amoe")
        with (marker / "events.jsonl").open("a") as log:
            log.write('{"at": "20')
        assert read_lines(marker / "after.txt") == remaining(self.last[1])

    def heed(self, snapshot: Snapshot) -> None:
        found = read_tree(self.watched, self.manifest).review
        assert (snapshot.trouble, snapshot.kept, snapshot.review) == (None, True, found)
        assert read_lines(self.watched / MARKER / "after.txt") == remaining(found)
        self.last = list_tree(self.watched).files, found

    @precondition(lambda self: self.changed)
    @rule()
    def collect(self) -> None:
        self.collect_both(frozenset())

    @rule(n=number, every=st.booleans())
    def finish(self, n: int, every: bool) -> None:
        """Somebody says that a class was looked at in full, or that all were."""
        labels = frozenset(file.given for file in self.manifest.files)
        self.collect_both(labels if every else frozenset([sorted(labels)[n % len(labels)]]))

    def collect_both(self, finished: frozenset[str]) -> None:
        previous = self.before[-1]
        found = read_tree(self.alone, self.manifest).review
        finished = previous.finished | finished
        found = in_one_spelling(as_finished(found, finished), self.manifest, CLASSES)
        verdicts = said(found)
        decided = {path: verdict for path, verdict in verdicts.items() if verdict[0] != "open"}
        confirmed = {(v.file.digest, v.label) for v in found.verdicts if v.verdict == "correct"}
        changed = {
            path for path, verdict in verdicts.items() if previous.decided.get(path) != decided.get(path)
        }
        for project, tree in zip(self.projects, self.trees, strict=True):
            collected = project.collect(tree, finished=finished, confirm=lambda asked: True)
            assert collected.review == found
            assert {v.file.path for v in collected.changed} == changed
            assert read_lines(project.folder_of(project.tree(tree)[0]) / "after.txt") == remaining(found)
            again = project.collect(tree)  # nor is anything asked again
            assert (again.changed, again.review) == ([], found)
            assert recorded(project) == (decided, confirmed)
        if changed:
            self.before.append(Collected(decided, confirmed, finished))
        self.changed = False

    @rule()
    def undo(self) -> None:
        for project in self.projects:
            if len(self.before) > 1:
                assert project.undo().what == "collect"
                then = self.before[-2]
                assert recorded(project) == (then.decided, then.confirmed)
            else:
                with pytest.raises(NothingToDo, match="no step to take back"):
                    project.undo()
        if len(self.before) > 1:
            self.before.pop()
            self.changed = True


@pytest.mark.timeout(600)  # where it fails, the shortest sequence that does is searched
@pytest.mark.parametrize(("exported", "examples"), [(list(IMAGES), 18), (SMALL, 30)], ids=["all", "small"])
def test_a_watcher_and_a_second_collect_change_nothing(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, exported: Sequence[str], examples: int
) -> None:
    make_project(in_memory / "fresh", exported)
    # Nothing else comes: each operation is complete. And if a folder is not heard yet, all are listened to anew.
    monkeypatch.setattr("dupekit.review.watch.watcher.QUIET_S", 0.01)
    monkeypatch.setattr("dupekit.review.watch.events.PAUSES_S", (0.01, 0.02))
    if sys.platform == "linux":  # so long watchdog waits for where a file that left its folder has gone
        grouper = "watchdog.observers.inotify_move_event_grouper.InotifyMoveEventGrouper"
        monkeypatch.setattr(f"{grouper}.delay", 0.01)
    # Nor does the power fail.
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr(Ledger, "__enter__", hurried)

    def machine() -> Reviewing:
        return Reviewing(in_memory / "fresh")

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            derandomize=True,
            deadline=None,
            report_multiple_bugs=False,
        ),
    )
