"""Disks that are full, places that may only be read, and ledgers that cannot be used; then all is well again."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.harness import Area
from tests.faults.mounts import full, pages, read_only, small
from tests.faults.scenarios import KILLS, SCENARIOS, SEED, Scenario
from tests.faults.trial import Bench

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="file systems are mounted"),
    pytest.mark.timeout(90 + 10 * KILLS),
]

WITHOUT_REFLINK = [one for one in SCENARIOS if "reflink" not in one.command]
WITH_LEDGER = [one for one in WITHOUT_REFLINK if one.name != "init"]
WRITES_OUTSIDE = [one for one in WITHOUT_REFLINK if one.name.startswith(("export", "apply"))]


def some(scenarios: list[Scenario], step: int) -> pytest.MarkDecorator:
    """All of them in the long form, each so many-th in the short one."""
    return pytest.mark.parametrize("scenario", scenarios if KILLS else scenarios[::step], ids=str)


@some(WITHOUT_REFLINK, 4)
def test_a_disk_that_is_full_at_every_stage(bench: Bench, scenario: Scenario, record_property) -> None:
    """From that moment on, until somebody makes room."""
    area = bench.area
    with small(area.path):
        area.restore(scenario.state)
        before = pages(area.path)
        bench.give(*scenario.command)
        needed = pages(area.path) - before + 12  # a journal comes and goes
        chance = random.Random(f"{SEED} {scenario} full")
        rooms = {0, *chance.sample(range(1, needed), min(KILLS, needed - 1))}
        ends = [
            bench.disturbed(scenario, lambda a, left=left: full(a.path, but_pages=left)) for left in rooms
        ]
    for ended in ends:
        assert ended.code in (0, 1, 3), ended.said
        assert ended.code != 1 or "space" in ended.said or "full" in ended.said, ended.said
    record_property("full disks", len(ends))


@some(WITHOUT_REFLINK, 8)
def test_a_dataset_that_may_only_be_read(bench: Bench, scenario: Scenario) -> None:
    """Is no hindrance, but for links, which a mount ends."""
    codes = (2,) if "hardlink" in scenario.command else (0,)
    bench.disturbed(scenario, lambda area: read_only(area.path / "data"), *codes)


@some(WITH_LEDGER, 8)
def test_a_project_that_may_only_be_read(bench: Bench, scenario: Scenario) -> None:
    ended = bench.disturbed(scenario, lambda area: read_only(area.path / "project"), 1, 2)
    assert "read" in ended.said.lower()


@some(WRITES_OUTSIDE, 2)
def test_a_destination_that_may_only_be_read(bench: Bench, scenario: Scenario) -> None:
    ended = bench.disturbed(scenario, lambda area: read_only(area.path, area.path / "project"), 1, 2)
    assert "read" in ended.said.lower()


def _another_programs(file: Path) -> None:
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE photos (id INTEGER)")


MADE_UNUSABLE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:6000]),
    "rubbish": lambda file: file.write_bytes(b"\0rubbish" * 3000),
    "missing": lambda file: file.unlink(),
    "another program's": _another_programs,
}


@contextlib.contextmanager
def unusable(area: Area, how: str) -> Iterator[None]:
    """Whatever dupekit does meanwhile, it leaves the file alone."""
    file = area.path / "project" / "ledger.db"
    good = file.read_bytes()
    MADE_UNUSABLE[how](file)
    bad = file.read_bytes() if file.exists() else None
    yield
    assert (file.read_bytes() if file.exists() else None) == bad
    file.write_bytes(good)


@pytest.mark.parametrize("how", MADE_UNUSABLE)
@some(WITH_LEDGER, 15)
def test_a_ledger_that_cannot_be_used(bench: Bench, scenario: Scenario, how: str) -> None:
    bench.disturbed(scenario, partial(unusable, how=how), 1, 2)


@contextlib.contextmanager
def locked(area: Area) -> Iterator[None]:
    """By another program, for a moment."""
    file = area.path / "project" / "ledger.db"
    held = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            held.set()
            time.sleep(0.7)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    yield
    thread.join()


@some(WITH_LEDGER, 15)
def test_a_ledger_that_another_program_holds_for_a_moment(bench: Bench, scenario: Scenario) -> None:
    """Is waited for."""
    bench.disturbed(scenario, locked, 0)
