"""Two dupekits at once on one project: they come one after the other, or the second is refused by name."""

from __future__ import annotations

import itertools
import random
import sys
import time

import pytest

from tests.faults.harness import Seen
from tests.faults.scenarios import KILLS, PROJECT, SEED
from tests.faults.trial import Bench

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc"),
    pytest.mark.timeout(120),
]

WRITING = {
    "scan": ("scan", "--all"),
    "train": ("train", "--pairs", "4"),
    "flag": ("flag", "--threshold", "3"),
    "export": ("export", "@second", "--limit", "0", "--audit", "3"),
    "collect": ("collect", "@tree", "--finished", "all", "-y"),
    "withdraw": ("withdraw", "@tree"),
    "apply": ("apply", "@fixed"),
    "next": ("next", "--drop"),
    "undo": ("undo",),
    "ignore": ("ignore", "import", "@ignored.csv"),
}
READING = {
    "status": ("status",),
    "flag only": ("flag",),
    "history": ("history",),
    "verify": ("verify", "--quick"),
    "explain": ("explain", "ciliate/0002.png"),
    "ignore list": ("ignore", "list"),
}
PAIRS = list(itertools.combinations_with_replacement(WRITING, 2))
MIXED = list(itertools.product(WRITING, READING))
STATE = "collected"

_ends: dict[tuple[str, ...], Seen] = {}


def after(bench: Bench, *names: str) -> Seen:
    """What these commands lead to one after the other, whether they are refused or not."""
    if names not in _ends:
        bench.area.restore(STATE)
        for name in names:
            bench.give(*WRITING[name], *PROJECT, codes=(0, 2, 3))
        _ends[names] = bench.area.seen()
    return _ends[names]


def some(pairs: list[tuple[str, str]], count: int) -> pytest.MarkDecorator:
    chosen = pairs if KILLS else random.Random(SEED).sample(pairs, count)
    return pytest.mark.parametrize(("first", "second"), chosen)


@some(PAIRS, 2)
def test_two_that_write(bench: Bench, first: str, second: str) -> None:
    ends = {names: after(bench, *names) for names in ((first,), (second,), (first, second), (second, first))}
    bench.area.restore(STATE)
    before = bench.area.dataset()
    chance = random.Random(f"{SEED} {first} {second}")
    one = bench.give.start(*WRITING[first], *PROJECT)
    time.sleep(chance.uniform(0, 0.1))
    other = bench.give_too.start(*WRITING[second], *PROJECT)
    for ended in (one.ended(), other.ended()):
        assert "Traceback" not in ended.said, ended.said
        assert ended.code in (0, 2, 3) or "is in use by" in ended.said, ended.said
    bench.area.wait_for_orphans()
    seen = bench.area.seen()
    differences = {names: seen.differences(end) for names, end in ends.items()}
    assert [] in differences.values(), differences
    assert bench.area.dataset() == before
    bench.give("verify", *PROJECT)


@some(MIXED, 1)
def test_one_that_writes_and_one_that_reads(bench: Bench, first: str, second: str) -> None:
    """Who only reads is never in the way, nor refused."""
    expected = after(bench, first)
    bench.area.restore(STATE)
    chance = random.Random(f"{SEED} {first} {second}")
    one = bench.give.start(*WRITING[first], *PROJECT)
    while not one.is_over():
        time.sleep(chance.uniform(0, 0.1))
        ended = bench.give_too.start(*READING[second], *PROJECT).ended()
        assert "Traceback" not in ended.said, ended.said
        assert ended.code == 0 or second in ("verify", "flag only"), ended.said
    assert one.ended().code in (0, 2, 3)
    assert bench.area.seen().differences(expected) == []
