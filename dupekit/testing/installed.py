"""Checks a plugin that is installed, by its name: what `dupekit plugins check` does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from dupekit.api import EXECUTORS, TRAINERS, VALIDATORS
from dupekit.errors import DupekitError, PluginError
from dupekit.plugin.registry import load, plugins
from dupekit.testing.checks import check_trainer, check_validator
from dupekit.testing.data import make_dataset, make_jobs, register
from dupekit.testing.executing import check_executor


def check_installed(group: str, name: str) -> str:
    """Takes the plugin through its contract; returns what it was checked with.

    Raises PluginError naming what is broken, or where no installed partner can read or make its models.
    """
    found = load(group, name)
    if group == EXECUTORS:
        _check_executor(found)
        return "four runs of a fake trainer"
    if group == TRAINERS:
        partner_name, partner = _partner(VALIDATORS, lambda other: found.produces in other.accepts, name)
        check_trainer(found, partner)
    else:
        partner_name, partner = _partner(TRAINERS, lambda other: other.produces in found.accepts, name)
        check_validator(found, partner)
    return f"{'validator' if group == TRAINERS else 'trainer'} {partner_name}"


def _partner(group: str, fits: Any, name: str) -> tuple[str, type[Any]]:
    for other in sorted(plugins(group), key=lambda other: other != name):  # its namesake first
        try:
            candidate = load(group, other)
        except DupekitError:
            continue  # another plugin's trouble
        if fits(candidate):
            return other, candidate
    raise PluginError(f"Nothing that is installed fits {name!r}, so it cannot be checked or used.")


def _check_executor(executor: type[Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        before = os.environ.get("PYTHONPATH")
        site = str(register(folder / "site"))
        os.environ["PYTHONPATH"] = os.pathsep.join([site, before]) if before else site
        try:
            check_executor(executor, make_jobs(folder / "round", make_dataset(folder / "data"), pairs=2))
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
