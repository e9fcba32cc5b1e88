"""What the checks of trainers, validators and executors share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import NoReturn, TypeVar

import numpy as np

from dupekit.errors import DupekitError, PluginError
from dupekit.plugin.registry import as_values, options_for

_T = TypeVar("_T")


class Listener:
    """A `Progress` that notes what is wrong with its calls; raising there could be swallowed."""

    cancelled = False

    def __init__(self) -> None:
        self.problem = ""

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        if not isinstance(stage, str) or not stage:
            self.problem = f"the stage {stage!r}, not a text"
        elif not all(isinstance(n, int | np.integer) for n in (done, total)) or not 0 <= done <= total:
            self.problem = f"{done!r} done of {total!r} in {stage!r}, not two ascending whole numbers from 0"
        for name, value in figures.items():
            if not isinstance(value, int | float | np.number):
                self.problem = f"{name}={value!r} in {stage!r}, not a number"

    def check(self, owner: type) -> None:
        if self.problem:
            broken(owner, f"it told progress {self.problem}")


def check_class(plugin: type, **attributes: type) -> None:
    """`Options`, and attributes of the class that must have a type, such as produces=str."""
    if not isinstance(plugin, type):
        raise PluginError(
            f"{plugin!r} is not a class.", hint="Give the class that the entry point names, not an instance."
        )
    for name, kind in attributes.items():
        value = getattr(plugin, name, None)
        if not isinstance(value, kind) or not value:
            broken(plugin, f"its {name} is {value!r}, not a {kind.__name__} with something in it")
    options = getattr(plugin, "Options", None)
    if not isinstance(options, type) or not is_dataclass(options):
        broken(plugin, f"its Options is {options!r}, not a dataclass")
    if not options.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        broken(plugin, "its Options is not frozen: @dataclass(frozen=True)")
    try:
        default = options()
    except TypeError as error:
        broken(plugin, f"its Options has a field without a default: {error}")
    try:  # as they travel in job.json
        again = options_for(plugin, json.loads(json.dumps(as_values(default))))
    except Exception as error:
        broken(plugin, f"its Options do not pass through JSON: {error}", error)
    if again != default:
        broken(plugin, f"its Options come back from JSON as {again}, not as {default}")
    for field in fields(options):
        if not field.metadata.get("help"):
            broken(plugin, f"its option {field.name} has no description: metadata={{'help': ...}}")


def call(owner: type, what: str, function: Callable[[], _T]) -> _T:
    """The function's value; what it raises is the plugin's fault."""
    try:
        return function()
    except Exception as error:
        text = error.message if isinstance(error, DupekitError) else f"{type(error).__name__}: {error}"
        broken(owner, f"{what} raised {text}", error)


def broken(owner: type, problem: str, cause: Exception | None = None) -> NoReturn:
    """Raises the PluginError that says so."""
    raise PluginError(
        f"{owner.__name__} breaks its contract: {problem}.", hint="The contract is dupekit.api."
    ) from cause
