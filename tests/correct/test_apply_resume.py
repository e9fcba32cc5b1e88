"""What a kill, an interruption, a full disk or a stranger leaves, and how the next call goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dupekit.correct import copying as placing
from dupekit.correct.build import partial_of, write_dataset
from dupekit.correct.placements import plan_dataset
from dupekit.errors import DupekitError, UsageError
from tests.correct.datasets import by_class, contents, correction, described, source
from tests.support import CLASSES, tree_state

MODES = ["copy", "hardlink", "symlink"]

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from dupekit.correct.build import write_dataset
    from dupekit.correct.placements import plan_dataset
    from tests.correct.datasets import by_class, described
    root, mode, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    owner, name = {"copy": (Path, "replace"), "hardlink": (os, "link"), "symlink": (Path, "symlink_to")}[mode]
    real = getattr(owner, name)
    count = 0
    def names(first, second):
        global count
        if ".partial" in str(second if mode == "hardlink" else first) and "plan.json" not in str(second):
            count += 1
            if when == str(count):
                os.kill(os.getpid(), signal.SIGKILL)
        return real(first, second)
    setattr(owner, name, names)
    def done():
        if when == "done":
            os.kill(os.getpid(), signal.SIGKILL)
    write_dataset(plan_dataset(by_class(described(root / "data")), {}), root / "data", root / "out", mode=mode, done=done)
"""


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    for number in range(12):
        source(tmp_path / "data", number, f"{'ab'[number % 2]}/{number:02d}.png", f"content {number}" * 50)
    return tmp_path / "data"


def kill(root: Path, mode: str, when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(root), mode, when],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_call_goes_on(plain, tmp_path, mode, monkeypatch) -> None:
    kill(tmp_path, mode, "8")
    partial = partial_of(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(contents(partial / "data")) == 7  # the eighth had no name yet
    placed: list[Path] = []
    monkeypatch.setattr(
        "dupekit.correct.build.place", lambda o, t, *r: (placed.append(t), placing.place(o, t, *r))
    )
    write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out", mode=mode)
    assert len(placed) == 5
    assert tree_state(tmp_path / "out") == tree_state(plain)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]


def test_a_call_killed_after_the_last_rename_is_recorded_by_the_next(plain, tmp_path) -> None:
    kill(tmp_path, "copy", "done")
    assert tree_state(tmp_path / "out") == tree_state(plain)
    told: list[int] = []
    write_dataset(
        plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out", done=lambda: told.append(1)
    )
    assert told == [1]
    assert not partial_of(tmp_path / "out").exists()
    with pytest.raises(UsageError, match="exists already"):
        write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out")


def test_a_file_damaged_in_the_partial_is_made_again(plain, tmp_path) -> None:
    kill(tmp_path, "copy", "8")
    data = partial_of(tmp_path / "out") / "data"
    file = next(data.rglob("*.png"))
    stat = file.stat()
    file.write_bytes(b"\0" * stat.st_size)  # as after a loss of power
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (data / "a" / "stranger.png").write_text("not of the plan")
    write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out")
    assert tree_state(tmp_path / "out") == tree_state(plain)


@pytest.mark.parametrize("other", ["mode", "plan"])
def test_a_partial_of_another_call_is_built_anew_and_said(plain, tmp_path, other, caplog) -> None:
    kill(tmp_path, "copy", "8")
    caplog.set_level("INFO", "dupekit")
    sources = described(plain)
    made = {1: correction(sources[0], "b")} if other == "plan" else {}
    mode = "hardlink" if other == "mode" else "copy"
    write_dataset(plan_dataset(by_class(sources), made), plain, tmp_path / "out", mode=mode)
    assert "begun for another plan or mode; building anew" in caplog.text
    assert sorted(contents(tmp_path / "out").values()) == sorted(contents(plain).values())
    if other == "mode":
        assert (tmp_path / "out/a/00.png").samefile(plain / "a/00.png")


def test_nothing_is_written_through_a_link_in_the_partial(plain, tmp_path) -> None:
    kill(tmp_path, "copy", "8")
    data = partial_of(tmp_path / "out") / "data"
    (tmp_path / "victim").mkdir()
    (data / "a").rename(tmp_path / "moved")
    (data / "a").symlink_to(tmp_path / "victim")
    write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out")
    assert list((tmp_path / "victim").iterdir()) == []
    assert tree_state(tmp_path / "out") == tree_state(plain)


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_a_stranger_under_the_partial_name_is_left_alone(plain, tmp_path, kind) -> None:
    partial = partial_of(tmp_path / "out")
    (tmp_path / "else").mkdir()
    if kind == "folder":
        partial.mkdir()
        (partial / "mine.txt").write_text("mine")
    elif kind == "link":
        partial.symlink_to(tmp_path / "else")
    else:
        partial.write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="in the way"):
        write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out")
    assert contents(tmp_path) == before
    assert os.path.lexists(partial)


@pytest.mark.parametrize("how", ["interrupt", "full"])
def test_an_interruption_or_a_full_disk_can_be_gone_on_from(plain, tmp_path, how, monkeypatch) -> None:
    real = Path.replace
    count = 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal count
        count += self.name == "next"
        if count == 5:
            raise (
                KeyboardInterrupt if how == "interrupt" else OSError(errno.ENOSPC, "No space left on device")
            )
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(
            KeyboardInterrupt if how == "interrupt" else DupekitError,
            match=None if how == "interrupt" else "No space",
        ):
            write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(contents(partial_of(tmp_path / "out") / "data")) == 4
    write_dataset(plan_dataset(by_class(described(plain)), {}), plain, tmp_path / "out")
    assert tree_state(tmp_path / "out") == tree_state(plain)


def test_a_dataset_that_was_not_recorded_is_recorded_by_the_same_command(
    trained, tmp_path, monkeypatch
) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("dupekit.ledger.applications.record", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained.apply(tmp_path / "fixed")
    made = tree_state(tmp_path / "fixed")
    assert trained.status().applications == []
    trained.apply(tmp_path / "fixed")
    assert len(trained.status().applications) == 1
    assert tree_state(tmp_path / "fixed") == made
    assert not partial_of(tmp_path / "fixed").exists()
    with pytest.raises(UsageError, match="exists already"):
        trained.apply(tmp_path / "fixed")


def test_a_dry_run_writes_nothing(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    trained.export()
    trained.collect(finished=CLASSES)
    before = tree_state(tmp_path)
    done = trained.apply(tmp_path / "fixed", dry_run=True)
    assert (done.files, len(done.corrections)) == (36, 2)
    assert tree_state(tmp_path) == before
