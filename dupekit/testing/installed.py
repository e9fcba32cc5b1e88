"""Checks a plugin that is installed, by its name: what `dupekit plugins check` does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dupekit.api import EXECUTORS, TRAINERS, VALIDATORS
from dupekit.errors import PluginError
from dupekit.plugin.apart import ask
from dupekit.plugin.registry import GROUPS, fitting, load, plugins
from dupekit.testing.data import make_dataset, make_jobs, register
from dupekit.testing.executors import check_executor
from dupekit.testing.findings import Findings
from dupekit.testing.trainers import examine_trainer
from dupekit.testing.validators import check_validator


@dataclass(frozen=True, slots=True)
class Given:
    """With which options plugins are checked, and where."""

    trainer: Mapping[str, Any] = field(default_factory=dict)
    validator: Mapping[str, Any] = field(default_factory=dict)
    executor: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"


def check_apart(group: str, name: str, given: Given, *, limit_s: float) -> str:
    """As `check_installed`, in a process of its own. Raises PluginError also where that ends without a word, does not end
    within `limit_s`, or leaves threads or processes behind."""
    asked = {"group": group, "name": name, "given": asdict(given)}
    what = f"The check of the {GROUPS[group]} {name!r}"
    return ask("dupekit.testing", asked, what=what, limit_s=limit_s)


def check_installed(group: str, name: str, given: Given | None = None) -> str:
    """Takes the plugin through its contract; returns what it was checked with.

    Raises PluginError listing what is broken, or that no installed partner can read or make its models; OptionError for
    options that it does not take.
    """
    given = given or Given()
    found = load(group, name)
    if group == EXECUTORS:
        return _check_executor(found, given)
    if group == TRAINERS:
        return _check_trainer(found, name, given)
    return _check_validator(found, name, given)


def _check_trainer(trainer: type[Any], name: str, given: Given) -> str:
    partner = _partner(TRAINERS, name, VALIDATORS, lambda other: trainer.produces in other.accepts)
    findings = Findings()
    examine_trainer(
        findings,
        trainer,
        None if partner is None else load(VALIDATORS, partner),
        options=given.trainer,
        validator_options=given.validator,
        device=given.device,
    )
    if partner is None:
        findings.add(
            trainer,
            f"no installed validator reads {trainer.produces!r}, the format that the trainer {name!r} makes, so that"
            " `dupekit train` cannot use it",
        )
    findings.finish()
    return f"validator {partner}"


def _check_validator(validator: type[Any], name: str, given: Given) -> str:
    partner = _partner(VALIDATORS, name, TRAINERS, lambda other: other.produces in validator.accepts)
    if partner is None:
        formats = " or ".join(repr(one) for one in sorted(validator.accepts))
        raise PluginError(
            f"No installed trainer makes {formats}, which the validator {name!r} reads: it can be neither used nor"
            " checked.",
            hint="Install a trainer that does; `dupekit plugins list` shows what there is.",
        )
    check_validator(
        validator,
        load(TRAINERS, partner),
        options=given.validator,
        trainer_options=given.trainer,
        device=given.device,
    )
    return f"trainer {partner}"


def _partner(of: str, name: str, group: str, fits: Callable[[Any], bool]) -> str | None:
    """The name of an installed plugin that fits; a namesake rather than another."""
    return next(fitting(group, fits, near=plugins(of)[name]), None)


def _check_executor(executor: type[Any], given: Given) -> str:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with _on_path(register(folder / "site")):
            jobs = make_jobs(folder / "round", make_dataset(folder / "data"), pairs=2, device=given.device)
            check_executor(executor, jobs, options=given.executor)
    return "four runs of a fake trainer"


@contextmanager
def _on_path(site: Path) -> Iterator[None]:
    """Meanwhile every Python that is started finds the plugins that are registered there."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), before]) if before else str(site)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
