"""How `collect` asks: at a terminal, and where there is none."""

from __future__ import annotations

import json
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


def collect(project: Project, *options: str, code: int | None, **streams) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dupekit", "collect", "-p", str(project.path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **streams)
    assert done.returncode == (code or 0), done.stderr
    if code is not None:
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
    said = collect(slipped, "--yes", code=0)
    assert "4 of 13 images decided" in said.stdout
    assert "9 are open" in said.stdout


def answered(
    project: Project, answers: bytes, *options: str, code: int | None
) -> subprocess.CompletedProcess[str]:
    """At a terminal."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answers)
        return collect(project, *options, code=code, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("answers", "code", "unconfirmed"),
    [
        (b"\ny\ny\n", 0, []),
        (b"\n\n", 2, [f"  - {MOVED}", "(1 more was not asked.)"]),
        (b"\ny\n\n", 2, [f"  - {GONE}"]),
        (b"\ny\n\x04", 2, [f"  - {GONE}"]),
    ],
    ids=["yes", "return", "yes, return", "yes, end of input"],
)
def test_a_person_is_asked_and_return_means_no(slipped, answers: bytes, code: int, unconfirmed) -> None:
    said = answered(slipped, answers, code=code)
    assert f"{MOVED} [y/N]" in said.stderr
    assert [line for line in said.stderr.splitlines() if line.startswith(("  - ", "("))] == unconfirmed


def test_a_question_wraps_between_words(slipped: Project) -> None:
    command = [sys.executable, "-m", "dupekit", "collect", "-p", str(slipped.path)]
    with on_terminal(command) as (process, read):
        seen = b""
        for question, answer in ((b"[none]: ", b"none\n"), (b"[y/N]: ", b"n\n")):
            while not seen.endswith(question):
                seen += read() or pytest.fail(seen.decode())
            os.write(read.handle, answer)
        assert process.wait(timeout=30) == 2
    text = seen.decode().replace("\r", "")
    assert f"{MOVED} [y/N]" in " ".join(text.split())
    assert max(map(len, text[text.index("The folder moved") :].split("\n"))) <= 80


def _state(pid: int) -> str:
    """ "S" where a process waits."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


OPEN = {
    f"{label}/{n}.bmp": "rare" for label, count in (("a", 3), ("b, c", 2), ("all", 1)) for n in range(count)
}


@pytest.fixture
def untouched(tmp_path: Path) -> Project:
    return exported_project(tmp_path, OPEN)


@pytest.mark.parametrize(
    ("answer", "finished"),
    [
        (b"all\n", {"a", "b, c", "all"}),
        (b"a\n", {"a"}),
        (b"b, c\n", {"b, c"}),
        (b"1,3\n", {"a", "b, c"}),
        (b"a, all/\n", {"a", "all"}),
        (b"b, d\na\n", {"a"}),  # asked again
    ],
)
def test_which_folders_were_finished(untouched: Project, answer: bytes, finished: set[str]) -> None:
    said = answered(untouched, answer, code=0)
    tree = untouched.tree().path
    shown = [
        f"{tree}: 6 images untouched. Were these folders finished, so that what is left is wrong?",
        "  1. a (3)",
        "  2. all (1)",
        "  3. b, c (2)",
    ]
    assert said.stderr.splitlines()[:4] == shown
    assert ("None of these is called b." in said.stderr) == (b"d" in answer)
    assert untouched.status().verdicts == {"relabel": sum(path.split("/")[0] in finished for path in OPEN)}
    again = answered(untouched, b"\n", code=0)  # only what is still open is asked about
    assert ("a (3)" in again.stderr) == ("a" not in finished)


@pytest.mark.parametrize("answer", [b"\n", b"none\n", b"\x04"])
def test_return_and_the_end_of_the_input_mean_none(untouched: Project, answer: bytes) -> None:
    said = answered(untouched, answer, code=None)
    assert f"Nothing was recorded: 6 images lie as exported in {untouched.tree().path}, and" in " ".join(
        said.stdout.split()
    )
    assert untouched.history() == []


def test_a_class_called_7_is_chosen_by_its_name(tmp_path: Path) -> None:
    project = exported_project(tmp_path, {f"{n}/x.bmp": "rare" for n in (1, 2, 7)})
    assert "  7 (1)" in answered(project, b"7,2\n", code=0).stderr.splitlines()
    assert [v.file.given for v in project.collect().open] == ["1"]


def test_a_script_names_what_was_finished(untouched: Project) -> None:
    said = collect(untouched, "--finished", "d", code=2, stdin=subprocess.DEVNULL)
    assert "The tree has no class d" in said.stderr
    assert "Open are: a (3), all (1), b, c (2)." in " ".join(said.stderr.split())
    said = collect(
        untouched, "--finished", "a", "--finished", "all/", "--json", code=0, stdin=subprocess.DEVNULL
    )
    found = json.loads(said.stdout)
    assert found["open"] == ["b, c/0.bmp", "b, c/1.bmp"]
    assert found["finished"] == ["a", "all"]
    assert untouched.collect().finished == ["a", "all"]  # remembered
    collect(untouched, "--finished", "all", "--who", "Ada", code=0, stdin=subprocess.DEVNULL)
    assert untouched.status().verdicts == {"relabel": 6}
    assert untouched.history()[-1].who == "Ada"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc nobody knows when it reads")
@pytest.mark.parametrize("answers", [[], [b"all\n"]], ids=["at what is open", "at a slip"])
def test_an_interrupt_at_a_question_records_nothing_and_says_so(slipped: Project, answers) -> None:
    command = [sys.executable, "-m", "dupekit", "collect", "-p", str(slipped.path)]
    with on_terminal(command) as (process, read):
        seen = b""
        for answer in [*answers, b""]:
            while not seen.endswith((b"[y/N]: ", b"[none]: ")):
                some = read()
                assert some, seen
                seen += some
            if answer:
                read.write(answer)
                seen = b""
        until(
            lambda: _state(process.pid) == "S"
        )  # it reads; a moment earlier the signal would not end the reading
        process.send_signal(signal.SIGINT)
        while some := read():
            seen += some
        assert process.wait(timeout=60) == 130
    assert seen.rstrip().endswith(b"Interrupted. Nothing was recorded.")
    assert slipped.status().verdicts == {}
