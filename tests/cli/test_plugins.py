"""`dupekit plugins check`, and plugins that misbehave in `dupekit train`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.testing import register
from tests.jobs.test_local import is_alive
from tests.support import dupekit_apart as dupekit
from tests.support import until

SOURCE = """
import os, subprocess, sys, threading, time
from dupekit.testing import CentroidTrainer, CentroidValidator
from dupekit.jobs.local import LocalExecutor

class Leaving(LocalExecutor):
    def run(self, jobs, options, progress):
        if jobs:
            sys.exit(0)
        yield from ()

class Empty(LocalExecutor):
    def run(self, jobs, options, progress):
        yield from ()

class Threading(LocalExecutor):
    def run(self, jobs, options, progress):
        threading.Thread(target=time.sleep, args=(3600,)).start()
        yield from super().run(jobs, options, progress)

class Nothing(LocalExecutor):
    def run(self, jobs, options, progress):
        return None

class Alien(LocalExecutor):
    def run(self, jobs, options, progress):
        yield "ok"

class Raising(LocalExecutor):
    def run(self, jobs, options, progress):
        raise RuntimeError("boom")
        yield

class Ending(LocalExecutor):
    def run(self, jobs, options, progress):
        os._exit(0)
        yield

class Asking(LocalExecutor):
    def run(self, jobs, options, progress):
        input("password? ")
        yield

class Printing(LocalExecutor):
    def run(self, jobs, options, progress):
        print("submitting")
        subprocess.run(["echo", "submitted"])
        yield from super().run(jobs, options, progress)

class Trainer(CentroidTrainer):
    produces = "other"
    def train(self, task, progress):
        made = super().train(task, progress)
        return type(made)(made.path, "other", task.classes, made.input)

class Validator(CentroidValidator):
    accepts = frozenset({"this", "that"})

class ExitingTrainer(CentroidTrainer):
    def train(self, task, progress):
        os._exit(0)

class CrashingTrainer(CentroidTrainer):
    def train(self, task, progress):
        os.kill(os.getpid(), 11)

class HangingTrainer(CentroidTrainer):
    def close(self):
        if "PID_FILE" in os.environ:
            with open(os.environ["PID_FILE"], "w") as file:
                file.write(f"{os.getpid()}\\n")
        time.sleep(3600)

class InterruptedTrainer(CentroidTrainer):
    def train(self, task, progress):
        raise KeyboardInterrupt

class LeavingTrainer(CentroidTrainer):
    def close(self):
        subprocess.Popen(["sleep", "3600"])

class ThreadTrainer(CentroidTrainer):
    def close(self):
        threading.Thread(target=time.sleep, args=(3600,), name="mine").start()

class BrokenTrainer(CentroidTrainer):
    def train(self, task, progress):
        raise ValueError("no luck")

class BrokenValidator(CentroidValidator):
    def predict(self, task, progress):
        return None
"""


@pytest.fixture
def installed(tmp_path: Path, fast: object, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers classes of the module above, by group and name."""
    (tmp_path / "my_odd.py").write_text(SOURCE)
    (tmp_path / "my_leaving.py").write_text("import os; os._exit(0)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))

    def install(**points: tuple[str, str]) -> None:
        groups: dict[str, dict[str, str]] = {}
        for kind, (name, target) in points.items():
            groups[f"dupekit.{kind}s"] = {name: target}
        register(tmp_path, groups, distribution="my_odd")

    return install


def test_options_reach_the_plugin_that_they_are_of(fast: object) -> None:
    said = dupekit("plugins", "check", "fake", "--set", "size_px=4", "--set", "validator.temperature=0.02")
    assert "The validator fake keeps its contract" in said.stdout
    assert (
        "size_px='0': it must be a whole number from 1 to 1024"
        in dupekit("plugins", "check", "fake", "--set", "size_px=0", code=2).stderr
    )
    assert (
        "temperature='0'"
        in dupekit("plugins", "check", "fake", "--set", "validator.temperature=0", code=2).stderr
    )
    # A name of one kind only: its options need no prefix.
    assert (
        "LocalExecutor has no option 'x'"
        in dupekit("plugins", "check", "local", "--set", "x=1", code=2).stderr
    )


def test_all_kinds_of_a_name_are_checked(installed: Callable[..., None]) -> None:
    installed(trainer=("odd", "my_odd:BrokenTrainer"), validator=("odd", "my_odd:BrokenValidator"))
    said = dupekit("plugins", "check", "odd", code=1).stderr
    assert re.search(r"train\(\) raised ValueError: no luck \(my_odd.py, line \d+\)", said)
    assert said.count("breaks its contract") == 2


def test_what_fits_nothing_is_said(installed: Callable[..., None]) -> None:
    installed(trainer=("lonely", "my_odd:Trainer"), validator=("lonely", "my_odd:Validator"))
    said = dupekit("plugins", "check", "lonely", code=1).stderr
    assert "no installed validator reads 'other', the format that the trainer 'lonely' makes" in said
    assert "No installed trainer makes 'that' or 'this', which the validator 'lonely' reads" in said


@pytest.mark.parametrize("kind", ["trainer", "validator", "executor"])
def test_an_import_that_exits_does_not_pass_for_work(
    project, installed: Callable[..., None], kind: str
) -> None:
    installed(**{kind: ("leaving", "my_leaving:Anything")})
    choices = {"trainer": "fake", "validator": "fake", "executor": "local", kind: "leaving"}
    options = [part for name, value in choices.items() for part in (f"--{name}", value)]
    said = dupekit("train", "--pairs", 1, "-p", project.path, *options, code=1).stderr
    assert f"The {kind} 'leaving' of my_odd 0 calls os._exit(0)" in said


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Leaving", r"The executor 'odd' \(Leaving\) calls sys.exit\(0\) in the middle of its work"),
        ("Ending", r"The executor 'odd' \(Ending\) calls os._exit\(0\) in the middle of its work"),
        ("Asking", r"The executor 'odd' \(Asking\) reads standard input in the middle of its work"),
        (
            "Nothing",
            r"run\(\) gave None, not an iterator of outcomes \(run\(\) begins in my_odd.py, line \d+",
        ),
        (
            "Alien",
            r"run\(\) gave 'ok', not the Outcome of a job that it was given \(run\(\) begins in my_odd.py, line \d+",
        ),
        ("Raising", r"RuntimeError: boom \(my_odd.py, line \d+\)\n`dupekit plugins check odd`"),
    ],
)
def test_an_executor_that_does_otherwise_than_it_should_is_named(
    project, installed: Callable[..., None], target: str, message: str
) -> None:
    installed(executor=("odd", f"my_odd:{target}"))
    options = ["--trainer", "fake", "--validator", "fake", "--executor", "odd"]
    said = dupekit("train", "--pairs", 1, "-p", project.path, *options, code=1)
    assert re.search(message, said.stderr)
    assert "Traceback" not in said.stderr


def test_runs_that_an_executor_says_nothing_of_are_not_done(project, installed: Callable[..., None]) -> None:
    installed(executor=("odd", "my_odd:Empty"))
    options = ["--trainer", "fake", "--validator", "fake", "--executor", "odd"]
    said = dupekit("train", "--pairs", 1, "-p", project.path, *options, code=1).stdout
    assert "2 of 2 runs were not done: the executor odd ended without them." in said
    assert "0 of 2 runs are done.\nNext: dupekit train" in said


def test_what_an_executor_prints_is_apart_from_the_json(project, installed: Callable[..., None]) -> None:
    installed(executor=("odd", "my_odd:Printing"))
    options = ["--trainer", "fake", "--validator", "fake", "--executor", "odd", "--json"]
    said = dupekit("train", "--pairs", 1, "-p", project.path, *options)
    assert json.loads(said.stdout)["left"] == []
    assert "submitting" in said.stderr
    assert "submitted" in said.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ExitingTrainer", r"The check of the trainer 'odd' ended with exit code 0 without a word"),
        ("CrashingTrainer", r"was killed by signal 11, in train\(\) of my_odd.py, line \d+"),
        ("HangingTrainer", r"did not end within 10 seconds, in close\(\) of my_odd.py, line \d+"),
        ("InterruptedTrainer", r"odd raised KeyboardInterrupt:  \(my_odd.py, line \d+\)"),
        ("LeavingTrainer", r"left a process behind that did not end"),
        ("ThreadTrainer", r"left the thread mine behind that did not end"),
    ],
)
def test_a_check_comes_back_whatever_the_plugin_does(
    installed: Callable[..., None], target: str, message: str
) -> None:
    installed(trainer=("odd", f"my_odd:{target}"))
    said = dupekit("plugins", "check", "odd", "--limit-s", 10, code=1)
    assert re.search(message, said.stderr)
    assert "keeps its contract" not in said.stdout


def test_a_check_ends_with_the_one_that_asked_for_it(
    installed: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(trainer=("odd", "my_odd:HangingTrainer"))
    told = tmp_path / "pid"
    monkeypatch.setenv("PID_FILE", str(told))
    with subprocess.Popen([sys.executable, "-m", "dupekit", "plugins", "check", "odd"]) as asking:
        until(lambda: told.exists() and told.read_text().endswith("\n"))
        asking.kill()
    until(lambda: not is_alive(int(told.read_text())))


def test_a_malformed_distribution_stops_nothing(
    project, installed: Callable[..., None], tmp_path: Path
) -> None:
    installed(executor=("odd", "my_odd:Threading"))
    info = tmp_path / "another-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dupekit.trainers]\nother = nowhere:T\nbad line\n")
    dupekit("status", "-p", project.path)
    dupekit("plugins", "show", "fake")
    # Nor does a thread that a plugin leaves behind hold the end.
    options = ["--trainer", "fake", "--validator", "fake", "--executor", "odd"]
    assert "2 of 2 runs are done" in dupekit("train", "--pairs", 1, "-p", project.path, *options).stdout


def test_a_broken_partner_harms_no_check(installed: Callable[..., None]) -> None:
    installed(validator=("aaa", "my_leaving:Anything"))
    assert "checked with validator fake" in dupekit("plugins", "check", "fake").stdout
