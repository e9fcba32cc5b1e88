"""Bars on a terminal: the stages that go on, in 80 columns, and how long they still take."""

from __future__ import annotations

import re
import sys

import pytest

from dupekit.cli.progress_bars import time_left_s
from tests.support import on_terminal

terminal = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def left_on_screen(*calls: str) -> list[str]:
    """The lines that stand on a terminal of 80 columns after these calls."""
    code = "\n    ".join(["with progress_bars() as progress:", *calls])
    start = "import time; from dupekit.cli.progress_bars import progress_bars"
    said = b""
    with on_terminal([sys.executable, "-c", f"{start}\n{code}"]) as (_, read):
        while more := read():
            said += more
    frame = said.decode().rpartition("\x1b[2K")[2]  # the last line of the frame before is wiped
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame)  # without colours and cursor movements
    return [line.strip() for line in plain.splitlines() if line.strip()]


@terminal
def test_counts_figures_and_time_are_legible() -> None:
    training, runs, of_training, of_runs = left_on_screen(
        "progress('training', 469, 1878)",
        "time.sleep(0.05)  # a pace takes two times",
        "progress('training', 939, 1878, images_per_second=74.19, loss=2.262, memory_mib=962.6)",
        "progress('runs', 3, 20, agreement=0.9134)",
    )
    assert re.fullmatch(r"training +[━╸╺]+ 939/1878 0:00:00 left 0:00:01", training)
    assert re.fullmatch(r"runs +[━╸╺]+ +3/20 +0:00:00", runs)  # of one moment there is no pace
    assert of_training == "training: images per second 74.19, loss 2.262, memory MiB 962.6"
    assert of_runs == "runs: agreement 0.9134"


@terminal
def test_what_has_ended_makes_room() -> None:
    runs, compiling = left_on_screen(
        "progress('runs', 0, 4)",
        "progress('decoding', 0, 9)",
        "progress('decoding', 9, 9, images_per_second=5)",
        "progress('compiling', 0, 1)",
    )
    assert re.fullmatch(r"runs +━+ 0/4 0:00:00", runs)
    assert re.fullmatch(r"compiling +━+ +0:00:00", compiling)  # nobody knows its length


@terminal
def test_what_was_given_up_makes_room() -> None:
    (runs,) = left_on_screen(
        "progress('training', 3, 9)",
        "progress('runs', 1, 4)",
        "progress('training', 0, 0)",
        "progress('starting', 0, 0)",
    )
    assert re.fullmatch(r"runs +[━╸╺]+ 1/4 0:00:00", runs)


@terminal
def test_the_last_that_was_told_of_stays() -> None:
    (runs,) = left_on_screen(
        "progress('runs', 0, 1)", "progress('runs', 1, 1)", "progress('counting votes', 5, 5)",
        "progress('runs', 1, 1)",
    )  # fmt: skip
    assert re.fullmatch(r"runs +━+ 1/1 0:00:00", runs)


def test_no_time_left_is_told_before_there_is_a_pace() -> None:
    assert time_left_s(done=0, total=20, elapsed_s=50, silent_s=50, pace=None) is None
    assert time_left_s(done=1, total=20, elapsed_s=50, silent_s=0, pace=None) is None


def test_what_came_before_the_first_run_does_not_count() -> None:
    """Features took an hour, each run takes five seconds."""
    assert time_left_s(done=4, total=20, elapsed_s=3620, silent_s=0, pace=1 / 5) == 80
    assert time_left_s(done=4, total=20, elapsed_s=3623, silent_s=3, pace=1 / 5) == 77


def test_runs_that_end_together_are_no_pace() -> None:
    """Ten at once took an hour, and ten are left: not the second that lay between the first and the tenth."""
    assert time_left_s(done=10, total=20, elapsed_s=3600 + 600, silent_s=600, pace=9) == 3000
    assert time_left_s(done=10, total=20, elapsed_s=3600 + 4000, silent_s=4000, pace=9) is None  # overdue
