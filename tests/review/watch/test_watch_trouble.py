"""The watcher where events fail it: lost, never come, or of another tree."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyFD

import dupekit.review.watch.watcher as watcher_module
from dupekit.files.write import read_lines
from dupekit.review.listing import list_tree
from dupekit.review.manifest import MARKER
from dupekit.review.watch.events import Ears, Heard
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import dupes_in
from tests.review.watch.following import counts
from tests.support import Terminal, on_terminal, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupekit.review.watch.watcher.CHECK_S", 0.2)


def count_listings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    listed: list[Path] = []
    monkeypatch.setattr("dupekit.review.watch.look.list_tree", lambda at: listed.append(at) or list_tree(at))
    return listed


@linux
def test_where_events_come_the_tree_is_not_listed_for_nothing(tree, watch, monkeypatch) -> None:
    checks: list[bool] = []
    due = watcher_module._Rhythm.due
    monkeypatch.setattr(
        "dupekit.review.watch.watcher._Rhythm.due", lambda *state: checks.append(due(*state)) or checks[-1]
    )
    listed = count_listings(monkeypatch)
    watching = watch()
    watching.until(lambda _: True)
    before = len(listed)
    while len(checks) < 5:
        assert watching.thread.is_alive()
        watching.thread.join(0.05)
    assert not any(checks)
    assert len(listed) == before


@linux
def test_a_tree_put_in_the_place_of_another_is_heard(tree, watch, tmp_path) -> None:
    watching = watch()
    watching.until(lambda _: True)
    shutil.copytree(tree, tmp_path / "copy")
    tree.rename(tmp_path / "old")
    (tmp_path / "copy" / "c0" / "other_09_0.png").unlink()
    (tmp_path / "copy").rename(tree)
    watching.until(lambda s: counts(s) == {"correct": 1, "open": 59})
    (tree / "c0" / "other_09_3.png").unlink()
    last = watching.until(lambda s: counts(s) == {"correct": 2, "open": 58})
    assert last.trouble is None
    assert any((event.kind, event.path) == ("deleted", "c0/other_09_3.png") for event in last.events)


@linux
def test_folders_that_are_not_watched_are_told_and_looked_at(tree, watch, monkeypatch) -> None:
    from watchdog.observers import inotify_c

    real = inotify_c.inotify_add_watch

    def limited(fd: int, path: bytes, mask: int) -> int:
        if path.endswith(b"/c1"):
            import ctypes

            ctypes.set_errno(28)
            return -1
        return real(fd, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", limited)
    watching = watch(poll_s=0.5)
    first = watching.until(lambda _: True)
    assert first.trouble.startswith("1 of 10 folders give no events")
    assert "max_user_watches" in first.trouble
    (tree / "c1" / "other_09_1.png").unlink()
    assert watching.until(lambda s: counts(s)["correct"] == 1).events == []


@linux
def test_no_more_instances_of_inotify(tree, monkeypatch) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("watchdog.observers.inotify_c.InotifyFD._create_inotify_fd", none_left)
    ears = Ears(tree, queue.SimpleQueue())
    assert "max_user_instances" in ears.open()
    ears.close()


def test_a_warning_of_watchdog_makes_it_look(tree, watch, monkeypatch) -> None:
    monkeypatch.setattr(
        "dupekit.review.watch.events._Handler.on_any_event", lambda self, event: None
    )  # all are lost
    watching = watch()
    watching.until(lambda _: True)
    (tree / "c0" / "other_09_0.png").unlink()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; events were lost")
    seen = watching.until(lambda s: counts(s)["correct"] == 1)
    assert [event.kind for event in seen.events] == ["overflow"]


@linux
def test_a_real_overflow_loses_nothing(tree, watch, monkeypatch) -> None:
    """The kernel's queue itself runs over, because for a while nobody reads it."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the queue holds {limit} events; it takes too many to overflow it")
    reading, read = threading.Event(), InotifyFD.read_events
    monkeypatch.setattr(InotifyFD, "read_events", lambda self: reading.wait(60) and read(self))
    reading.set()
    watching = watch()
    watching.until(lambda _: True)
    reading.clear()
    for number in range(limit):  # twice as many events: a read that is under way takes some
        stranger = tree / "c0" / f"{number}"
        stranger.touch()
        stranger.unlink()
    (tree / "new").mkdir()
    (tree / "c0" / "other_09_0.png").rename(tree / "new" / "moved.png")
    (tree / "c0" / "other_09_3.png").unlink()
    reading.set()
    watching.until(lambda s: counts(s)["correct"] == 1 and "new/moved.png" in s.review.verdicts[0].now_at)
    assert read_lines(tree / MARKER / "after.txt") == sorted(list_tree(tree).files, key=str.encode)
    (tree / "new" / "moved.png").unlink()  # and the folder made meanwhile is heard
    watching.until(lambda s: counts(s)["correct"] == 2)
    heard = [(event.kind, event.path) for s in watching.snapshots for event in s.events]
    assert ("overflow", None) in heard
    assert ("deleted", "new/moved.png") in heard
    assert ("deleted", "c0/other_09_3.png") not in heard  # it was truly lost


def listen(tree: Path) -> tuple[Ears, Heard]:
    heard: Heard = queue.SimpleQueue()
    ears = Ears(tree, heard)
    assert ears.open() is None
    return ears, heard


def hear(heard: Heard, *events: tuple[str, str]) -> None:
    missing = list(events)
    while missing:
        event = heard.get(timeout=30)
        assert event is not None
        with contextlib.suppress(ValueError):
            missing.remove((event.kind, event.path))


def confuse(tree: Path, out: Path, heard: Heard) -> None:
    """A folder leaves the tree, and one that took its place is deleted: watchdog's books are wrong then."""
    (tree / "c0").rename(out)
    (tree / "c0").mkdir()
    hear(heard, ("deleted", "c0"), ("created", "c0"))
    (tree / "c0").rmdir()
    hear(heard, ("deleted", "c0"))


@linux
def test_it_stops_though_a_folder_that_was_moved_out_confused_watchdog(tree, tmp_path, capfd) -> None:
    ears, heard = listen(tree)
    confuse(tree, tmp_path / "out", heard)
    ears.close()  # where watchdog raises KeyError
    assert ears.open() is None
    (tree / "c1" / "other_09_1.png").unlink()
    hear(heard, ("deleted", "c1/other_09_1.png"))
    ears.close()
    assert capfd.readouterr().err == ""


@linux
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_watchdog_that_dies_is_noticed(tree, tmp_path) -> None:
    ears, heard = listen(tree)
    assert ears.in_order()
    confuse(tree, tmp_path / "out", heard)
    shutil.rmtree(tmp_path / "out")  # here it raises KeyError
    until(lambda: not ears.in_order())
    assert ears.open() is None
    assert ears.in_order()
    ears.close()


@linux
def test_a_folder_moved_out_is_heard_no_more_and_heard_again_when_it_is_back(tree, watch, tmp_path) -> None:
    watching = watch()
    watching.until(lambda _: True)
    (tree / "c0").rename(tmp_path / "out")
    watching.until(lambda s: counts(s)["correct"] == 20)
    (tmp_path / "out" / "other_09_0.png").unlink()
    (tree / "c1" / "other_09_1.png").unlink()
    last = watching.until(lambda s: counts(s)["correct"] == 21)
    assert [(event.kind, event.path) for event in last.events] == [("deleted", "c1/other_09_1.png")]
    (tmp_path / "out").rename(tree / "c0")
    watching.until(lambda s: counts(s)["correct"] == 2)
    (tree / "c0" / "other_09_3.png").unlink()
    last = watching.until(lambda s: counts(s)["correct"] == 3)
    assert ("deleted", "c0/other_09_3.png") in [(event.kind, event.path) for event in last.events]


def start(tree: Path, *options: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(
        [sys.executable, "-m", "dupekit", "watch", str(tree), *options],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_as_a_service_it_says_what_matters_and_ends_cleanly(tree) -> None:
    with start(tree, "--quiet") as process:
        assert process.stdout is not None
        assert (
            process.stdout.readline()
            .rstrip()
            .endswith("0 of 60 reviewed (0 done, 0 right, 0 expunge, 0 unsure), 60 open")
        )
        for file in (tree / "c0").glob("*.png"):
            file.unlink()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert [line.split(" ", 1)[1] for line in rest.splitlines()] == ["stopped; after.txt is current"]
    assert len(read_lines(tree / MARKER / "after.txt")) == 40


def test_its_log_tells_what_was_done_and_when_all_is_and_again_if_it_comes_back(tree) -> None:
    said: list[str] = []
    with start(tree) as process:
        assert process.stdout is not None
        process.stdout.readline()
        steps = iter(
            [
                lambda: (tree / "_done/c1").rename(tree / "c1"),
                lambda: (tree / "c1").rename(tree / "_done/c1"),
                lambda: process.send_signal(signal.SIGTERM),
            ]
        )
        for number in range(3):
            (tree / f"c{number}").rename(tree / f"_done/c{number}")
        for line in process.stdout:
            said.append(line.rstrip().split(" ", 1)[1])
            if "everything is done" in line or said[-1].endswith("20 files of c1 moved to c1"):
                next(steps)()
    assert process.returncode == 0
    assert [line for line in said if "done" in line and "reviewed" not in line] == [
        "everything is done: it can be collected"
    ] * 2
    whole = "60 of 60 reviewed (60 done, 0 right, 0 expunge, 0 unsure), 0 open"
    assert said[-3].startswith(whole)
    assert said[-3].endswith("; 20 files of c1 moved to _done")
    assert said[-1] == "stopped; after.txt is current"


def test_its_log_asks_about_a_new_class_whose_name_is_nearly_a_classs(tree) -> None:
    said: list[str] = []
    with start(tree) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (tree / "others").mkdir()
        moved = next((tree / "c0").iterdir())
        moved.rename(tree / "others" / moved.name)
        for line in process.stdout:
            said.append(line.rstrip().split(" ", 1)[1])
            if "question" in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert [line for line in said if "question" in line] == [
        "question: others is a new class. Did you mean other?"
    ]


on_unix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A tree of 50 classes, of which one is in work and one is done."""
    files = {f"{label:02d}/{i}.png": (f"{label} {i}", "x") for label in range(50) for i in range(2)}
    dupes = dupes_in(tmp_path / "data", files)
    manifest = plan_tree(dupes, [*{path[:2]: 0 for path in files}, "x"], round_number=1, pairs=10, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    for name in ("45/x_09_0.png", "46/x_09_0.png", "46/x_09_1.png"):
        (tmp_path / "tree" / name).unlink()
    return tmp_path / "tree"


def screen_of(read: Terminal) -> str:
    said = b""
    while b"open." not in said or not said.endswith(b"Ctrl-C."):
        more = read()
        assert more, said
        said += more
    return said.decode()


@on_unix
def test_on_a_terminal_many_classes_do_not_push_the_sums_off_the_screen(many) -> None:
    with on_terminal([sys.executable, "-m", "dupekit", "watch", str(many)]) as (process, read):
        screen = screen_of(read)
        process.send_signal(signal.SIGINT)
        said = b""
        while more := read():
            said += more
        assert process.wait(30) == 0
    assert screen.count("\n") < 24
    assert "3 of 100 reviewed" in screen
    assert re.search(r"45 +0 +1 +0 +0 +1", screen)  # in work
    assert not re.search(r"46 +0 +2 +0 +0 +0", screen)  # done
    assert re.search(r"… 3\d more classes +0 +2 +0 ", screen)
    assert re.search(r"all +0 +3 +0 +0 +97", screen)
    assert re.search(r"46 +0 +2 +0 +0 +0", said.decode())  # at the end all are shown
    assert "stopped; after.txt is current" in said.decode()


@on_unix
def test_a_terminal_that_changes_its_size_is_drawn_anew(many) -> None:
    with on_terminal([sys.executable, "-m", "dupekit", "watch", str(many)]) as (process, read):
        screen_of(read)
        for lines, columns in ((16, 80), (40, 60)):
            read.resize(lines=lines, columns=columns)
            process.send_signal(signal.SIGWINCH)  # as the system does, to what has it as its own terminal
            screen = screen_of(read)
            assert lines - 4 < screen.count("\n") < lines
            assert re.search(r"all +0 +3 +0 +0 +97", screen)
        process.send_signal(signal.SIGTERM)
        while read():
            pass
        assert process.wait(30) == 0
