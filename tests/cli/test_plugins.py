"""`dupekit plugins check`, and plugins that misbehave in `dupekit train`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit.testing import register
from tests.support import dupekit_apart as dupekit

SOURCE = """
import sys
from dupekit.testing import CentroidTrainer, CentroidValidator
from dupekit.jobs.local import LocalExecutor

class Leaving(LocalExecutor):
    def run(self, jobs, options, progress):
        if jobs:
            sys.exit(0)
        yield from ()

class Trainer(CentroidTrainer):
    produces = "other"
    def train(self, task, progress):
        made = super().train(task, progress)
        return type(made)(made.path, "other", task.classes, made.input)

class Validator(CentroidValidator):
    accepts = frozenset({"this", "that"})

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
    assert "train() raised ValueError: no luck (my_odd.py, line 23)" in said
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


def test_an_executor_that_exits_does_not_pass_for_work(project, installed: Callable[..., None]) -> None:
    installed(executor=("leaving", "my_odd:Leaving"))
    options = ["--trainer", "fake", "--validator", "fake", "--executor", "leaving"]
    said = dupekit("train", "--pairs", 1, "-p", project.path, *options, code=1).stderr
    assert "The executor 'leaving' called sys.exit(0) in the middle of its work" in said
