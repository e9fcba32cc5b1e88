"""How `collect` asks: at a terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dupekit.project import Project
from tests.reviewed import exported_project
from tests.support import on_terminal, until

IMAGES = {
    f"{label}/{n}.bmp": "rare"
    for label, count in (("big", 9), ("gone", 2), ("moved", 2))
    for n in range(count)
}
GONE = "The folder gone is gone (2 files, 15% of the tree). Were all of these labelled right?"
MOVED = (
    "The folder moved lies in big now (2 files, 15% of the tree). Shall all of these get the label of big?"
)


@pytest.fixture
def slipped(tmp_path: Path) -> Project:
    project = exported_project(tmp_path, IMAGES)
    shutil.rmtree(tmp_path / "tree" / "gone")
    (tmp_path / "tree" / "moved").rename(tmp_path / "tree" / "big" / "moved")
    return project


def collect(project: Project, *options: str, code: int, **streams) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dupekit", "collect", "-p", str(project.path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **streams)
    assert done.returncode == code, done.stderr
    assert bool(project.status().verdicts) == (code == 0)
    return done


def test_a_script_has_to_say_yes(slipped: Project) -> None:
    said = collect(slipped, code=2, stdin=subprocess.DEVNULL)
    assert [line for line in said.stderr.splitlines() if line.startswith("  - ")] == [
        f"  - {MOVED}",
        f"  - {GONE}",
    ]
    assert "--yes" in said.stderr
    assert said.stdout == ""
    assert "13 verdicts new" in collect(slipped, "--yes", code=0).stdout


@pytest.mark.parametrize(
    ("answers", "code", "unconfirmed"),
    [
        (b"y\ny\n", 0, []),
        (b"\n", 2, [f"  - {MOVED}", "(1 more was not asked.)"]),
        (b"y\n\n", 2, [f"  - {GONE}"]),
        (b"y\n\x04", 2, [f"  - {GONE}"]),
    ],
    ids=["yes", "return", "yes, return", "yes, end of input"],
)
def test_a_person_is_asked_and_return_means_no(slipped, answers: bytes, code: int, unconfirmed) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answers)
        said = collect(slipped, code=code, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert f"{MOVED} [y/N]" in said.stderr
    assert [line for line in said.stderr.splitlines() if line.startswith(("  - ", "("))] == unconfirmed


def _state(pid: int) -> str:
    """ "S" where a process waits."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc nobody knows when it reads")
def test_an_interrupt_at_a_question_records_nothing_and_says_so(slipped: Project) -> None:
    command = [sys.executable, "-m", "dupekit", "collect", "-p", str(slipped.path)]
    with on_terminal(command) as (process, read):
        seen = b""
        while b"[y/N]" not in seen:
            some = read()
            assert some, seen
            seen += some
        until(
            lambda: _state(process.pid) == "S"
        )  # it reads; a moment earlier the signal would not end the reading
        process.send_signal(signal.SIGINT)
        while some := read():
            seen += some
        assert process.wait(timeout=60) == 130
    assert seen.rstrip().endswith(b"Interrupted. Nothing was recorded.")
    assert slipped.status().verdicts == {}
