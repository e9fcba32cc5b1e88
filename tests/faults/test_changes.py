"""A dataset that somebody changes while a command is at work on it: refused in words, or without effect; never half done."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.scenarios import KILLS, PROJECT, SCENARIOS, SEED, Scenario
from tests.faults.trial import PICTURES, Bench

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc"),
    pytest.mark.timeout(60 + 20 * KILLS),
]

NAMES = ("train", "export", "apply-copy", "apply-hardlink", "apply-symlink", "next", "scan")
READING = [one for one in SCENARIOS if one.name in NAMES]


def _replaced(file: Path) -> None:
    """By another image, in one step, as a program that saves a file does."""
    new = file.with_name("new.partial~")
    shutil.copyfile(sorted(file.parent.parent.glob("diatom/00*"))[-1], new)
    new.replace(file)


def _secretly(file: Path) -> None:
    """By other content of the same size and time."""
    stat = file.stat()
    new = file.with_name("new.partial~")
    content = bytearray(file.read_bytes())
    content[-20] ^= 0xFF
    new.write_bytes(content)
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(file)


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": _replaced,
    "secretly replaced": _secretly,
    "deleted": lambda file: file.unlink(),
    "renamed": lambda file: file.rename(file.with_name("another.png")),
    "moved to another class": lambda file: file.rename(file.parent.parent / "diatom" / f"moved-{file.name}"),
    "emptied": lambda file: (file.unlink(), file.touch()),
    "made a folder": lambda file: (file.unlink(), file.mkdir()),
    "class deleted": lambda file: shutil.rmtree(file.parent),
}
EVERY = [(scenario, change) for scenario in READING for change in CHANGES]


@pytest.mark.parametrize(("scenario", "change"), EVERY if KILLS else EVERY[8::19], ids=str)
def test_a_dataset_that_changes_meanwhile(bench: Bench, scenario: Scenario, change: str) -> None:
    """Whatever came of the command: when the dataset is as it was, `scan` and the command lead to where they always do.

    What was written meanwhile holds the images that were scanned, or there is nothing.
    """
    area, expected = bench.area, bench.reference(scenario)
    chance = random.Random(f"{SEED} {scenario} {change}")
    for _ in range(max(1, KILLS // 4)):
        area.restore(scenario.state)
        before = area.dataset()
        data, saved = area.path / "data", area.path.with_name("saved")
        shutil.copytree(data, saved)
        running = bench.give.start(*scenario.command)
        time.sleep(chance.uniform(0, expected.took_s))
        with contextlib.suppress(FileNotFoundError):  # it looked elsewhere
            CHANGES[change](data / "ciliate" / "0009.png")
        ended = running.ended()
        assert "Traceback" not in ended.said, ended.said
        assert ended.code in (0, 1, 2, 3), ended.said
        written = area.seen().places
        wanted = {place for place in expected.seen.places if place.startswith("fixed")}
        if ended.code:
            assert not [place for place in written if place.startswith(("fixed", ".fixed"))]
        elif change != "secretly replaced" or "symlink" not in scenario.command:
            assert {written.get(place) for place in wanted} == {expected.seen.places[p] for p in wanted}
        shutil.rmtree(data)
        saved.rename(data)
        if scenario.name in ("scan", "next", "train"):
            bench.give("scan", "--all", *PROJECT)
        bench.again(scenario, expected)
        # What a scan has seen meanwhile is kept, as gone.
        after = area.seen() if scenario.name == "scan" else expected.seen
        bench.check(after, before, but_for=PICTURES if ended.code == 0 else ())
