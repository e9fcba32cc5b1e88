"""SIGKILL at random moments, and at the n-th call that changes the file system; calls that fail; then the same command again.

The short form, in every run of the tests, kills each command a few times. The long one kills it DUPEKIT_KILLS times in each way.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.faults.mounts import btrfs
from tests.faults.scenarios import KILLS, SCENARIOS, SEED, Scenario
from tests.faults.trial import AtRandom, Bench, calls

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc"),
    pytest.mark.timeout(60 + 10 * KILLS),
]

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
TRAINING = [one for one in SCENARIOS if one.name.startswith("train")]


@pytest.fixture
def scenario(request, bench: Bench) -> Iterator[Scenario]:
    """The scenario; with a file system that can do reflinks mounted over the area where it needs one."""
    wanted: Scenario = request.param
    if "reflink" not in wanted.command:
        yield wanted
        return
    with btrfs(bench.area.path):
        yield wanted


def each(some: list[Scenario]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", some, ids=str, indirect=True)


@each(SCENARIOS if KILLS else SCENARIOS[::2])
def test_at_random_moments(bench: Bench, scenario: Scenario, record_property) -> None:
    chance = random.Random(f"{SEED} {scenario}")
    hit = [bench.cut_off(scenario, AtRandom(chance), look=bool(number % 2)) for number in range(KILLS or 1)]
    record_property("kills", sum(hit))


@needs_strace
@each(SCENARIOS if KILLS else SCENARIOS[1::2])
def test_at_a_call(bench: Bench, scenario: Scenario, record_property) -> None:
    """At each call of the command, or at so many of them, drawn at random."""
    chance = random.Random(f"{SEED} {scenario} call")
    made = calls(bench, scenario)
    cuts = chance.sample(made, min(KILLS or 1, len(made)))
    hit = [bench.cut_off(scenario, cut, look=bool(cut.number % 2)) for cut in cuts]
    assert sum(hit) >= 0.8 * len(hit), "kills that miss"
    record_property("kills", sum(hit))
    record_property("calls", len(made))


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@each(SCENARIOS if KILLS else SCENARIOS[7:8])
def test_a_call_that_fails(bench: Bench, scenario: Scenario, error: str, record_property) -> None:
    """As on a disk that is damaged, or full for a moment: what is not refused in words has its usual end."""
    chance = random.Random(f"{SEED} {scenario} {error}")
    made = calls(bench, scenario)
    cuts = chance.sample(made, min(KILLS or 1, len(made)))
    for cut in cuts:
        bench.cut_off(scenario, dataclasses.replace(cut, fault=f"error={error}"))
    record_property("failed calls", len(cuts))


@pytest.mark.parametrize("whom", ["worker", "all"] if KILLS else ["worker"])
@each(TRAINING if KILLS else TRAINING[:1])
def test_of_workers_at_random_moments(bench: Bench, scenario: Scenario, whom: str, record_property) -> None:
    chance = random.Random(f"{SEED} {scenario} {whom}")
    hit = [bench.cut_off(scenario, AtRandom(chance, whom)) for _ in range(KILLS or 1)]
    record_property("kills", sum(hit))


@needs_strace
@each(TRAINING if KILLS else TRAINING[:1])
def test_of_workers_at_a_call(bench: Bench, scenario: Scenario, record_property) -> None:
    """Whoever comes to this call first: the command, or its worker, which makes fewer."""
    chance = random.Random(f"{SEED} {scenario} worker's call")
    made = calls(bench, scenario, workers=True)
    hit = [bench.cut_off(scenario, cut) for cut in chance.sample(made, min(KILLS or 1, len(made)))]
    record_property("kills", sum(hit))
    record_property("calls", len(made))
