"""A trial: a state is prepared, a command is cut off there and given again, and all is looked at."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.faults.harness import STAMP, Area, Commands, Ended, Seen
from tests.faults.scenarios import PROJECT, Scenario

CALLS = (
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,rmdir,"
    "fsync,fdatasync,ftruncate,pwrite64"
)
"""What changes a file system so that it can be seen, or promises that it lasts."""


PICTURES = ("tree/.dupekit/reference", "tree/_READ_ME.html")
"""Of typical images: an export does without those that it cannot read or has no room for."""


@dataclass(frozen=True)
class Reference:
    """What an undisturbed command leaves."""

    took_s: float
    seen: Seen
    history: str


class Bench:
    """The area, who gives commands there, and what each scenario comes to when nothing disturbs it."""

    def __init__(self, area: Area, site: Path) -> None:
        self.area = area
        self.give = Commands(area, site)
        self._site = site
        self._references: dict[str, Reference] = {}

    @cached_property
    def give_too(self) -> Commands:
        """For a second command at the same time."""
        return Commands(self.area, self._site, 2)

    def close(self) -> None:
        self.give.close()
        if "give_too" in self.__dict__:
            self.give_too.close()

    def reference(self, scenario: Scenario) -> Reference:
        if scenario.name not in self._references:
            self.area.restore(scenario.state)
            done = self.give(*scenario.command)
            self._references[scenario.name] = Reference(done.took_s, self.area.seen(), self.history())
        return self._references[scenario.name]

    def history(self) -> str:
        said = self.give("history", "--json", *PROJECT).said
        return STAMP.sub(b"STAMP", said.encode()).decode()

    def cut_off(
        self, scenario: Scenario, cut: Callable[[Bench, Scenario], Ended], *, look: bool = False
    ) -> bool:
        """Prepares the state, has the command cut off, gives it again, and looks; whether it was killed.

        With `look` another command reads the project in between.
        """
        expected = self.reference(scenario)
        self.area.restore(scenario.state)
        before = self.area.dataset()
        ended = cut(self, scenario)
        assert "Traceback" not in ended.said, ended.said
        if look and (self.area.path / "project" / "dupekit.toml").exists():
            self.give("status", *PROJECT)
        self.again(scenario, expected)
        self.check(expected.seen, before)
        return ended.code == -signal.SIGKILL

    def disturbed(
        self, scenario: Scenario, disturbance: Callable[[Area], AbstractContextManager[None]], *codes: int
    ) -> Ended:
        """Prepares the state, gives the command while something is wrong, and again when that is over.

        The first time it must end with one of the codes, default any that the guide names, and say something if it failed.
        """
        expected = self.reference(scenario)
        self.area.restore(scenario.state)
        before = self.area.dataset()
        with disturbance(self.area):
            ended = self.give(*scenario.command, codes=codes or (0, 1, 2, 3))
            assert ended.code == 0 or ended.said
        self.again(scenario, expected)
        self.check(expected.seen, before, but_for=PICTURES if ended.code == 0 else ())
        return ended

    def again(self, scenario: Scenario, expected: Reference) -> None:
        """Gives the command to its end, or has it refused because it has been there."""
        if scenario.once and self.history() == expected.history:
            done = True
        else:
            ended = self.give(*scenario.command, codes=(0,) if scenario.done is None else (0, 2, 3))
            done = ended.code != 0
            assert not done or (scenario.done and scenario.done in ended.said), ended.said
        for command in scenario.after if done else ():
            self.give(*command)

    def check(
        self, expected: Seen, dataset: dict[str, tuple[str, int, int]], *, but_for: tuple[str, ...] = ()
    ) -> None:
        """The end is that of an undisturbed run, but for some places; the dataset is untouched, and `verify` is content."""
        self.area.wait_for_orphans()
        differences = self.area.seen().without(*but_for).differences(expected.without(*but_for))
        assert not differences, "\n".join(differences)
        assert self.area.dataset() == dataset
        self.give("verify", *PROJECT)


@dataclass(frozen=True)
class AtRandom:
    """Kills a command some time between its beginning and its end; `whom`: itself, its worker, or both."""

    chance: random.Random
    whom: str = "command"

    def __call__(self, bench: Bench, scenario: Scenario) -> Ended:
        took_s = bench.reference(scenario).took_s
        running = bench.give.start(*scenario.command)
        if self.whom == "command":
            time.sleep(self.chance.uniform(0, took_s * 1.02))
            running.kill()
            return running.ended()
        while not (workers := running.children()) and not running.is_over():
            time.sleep(0.002)
        time.sleep(self.chance.uniform(0, took_s))
        if self.whom == "all":
            running.kill()
        killed = False
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                killed = True
        ended = running.ended()
        return Ended(-signal.SIGKILL if killed else ended.code, ended.said, ended.took_s)


@dataclass(frozen=True)
class AtCall:
    """Kills a command at its n-th call of the system of this name, before it is made; or has this call fail."""

    call: str
    number: int
    workers: bool = False
    """Whether the calls of its workers count, each worker's for itself; who comes to this number is killed."""
    fault: str = "signal=SIGKILL"
    """In strace's words."""

    def __call__(self, bench: Bench, scenario: Scenario) -> Ended:
        inject = f"inject={self.call}:{self.fault}:when={self.number}"
        ended, killed = traced(bench, scenario, inject, follow=self.workers)
        return Ended(-signal.SIGKILL if killed else ended.code, ended.said, ended.took_s)


def traced(bench: Bench, scenario: Scenario, *expressions: str, follow: bool = False) -> tuple[Ended, bool]:
    """A command under strace; how it ended, and whether a process was killed."""
    log = bench.area.path.with_name("strace.txt")
    running = bench.give.start(*scenario.command, gate=bench.area.path.with_name("gate"))
    options = [part for one in (f"trace={CALLS}", *expressions) for part in ("-e", one)]
    with subprocess.Popen(
        ["strace", *(["-f"] if follow else []), "-o", log, *options, "-p", str(running.pid)],
        stderr=subprocess.PIPE,
        text=True,
    ) as strace:
        assert strace.stderr
        said = strace.stderr.readline()
        assert "attached" in said, said
        running.release()
        ended = running.ended()
        if not follow:
            strace.wait(10)
        else:
            bench.area.wait_for_orphans()
            strace.terminate()
    return ended, "killed by SIGKILL" in log.read_text(errors="replace")


def calls(bench: Bench, scenario: Scenario, *, workers: bool = False) -> list[AtCall]:
    """A kill at each call of CALLS that the command makes itself; with `workers` at each that a worker makes."""
    bench.area.restore(scenario.state)
    traced(bench, scenario, follow=workers)
    log = bench.area.path.with_name("strace.txt").read_text(errors="replace")
    made = re.findall(
        r"^(\d+ +)?(\w+)\(", log, re.MULTILINE
    )  # a number comes first where several are followed
    counted: Counter[tuple[str, str]] = Counter()
    found = []
    for process, call in made:
        counted[process, call] += 1
        if not workers or process != made[0][0]:
            found.append(AtCall(call, counted[process, call], workers))
    return found
