"""What is wrong with plugins, gathered point by point."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from dupekit.errors import DupekitError, PluginError
from dupekit.plugin.checks import Breach, told
from dupekit.plugin.conformance import class_problems
from dupekit.plugin.options import as_values, options_for
from dupekit.plugin.place import beginning, place

_T = TypeVar("_T")


class Broken(Exception):
    """One point; ends the step of a check that found it."""

    def __init__(self, owner: type, problem: str, cause: BaseException | None = None) -> None:
        super().__init__(problem)
        self.owner, self.problem, self.cause = owner, problem, cause


class Findings:
    """All points that a check finds, each told once."""

    def __init__(self) -> None:
        self._found: dict[tuple[type, str], Broken] = {}

    def add(self, owner: type, problem: str, cause: BaseException | None = None) -> None:
        key = owner, problem.partition(":")[0]  # what follows is often the path or name of one task
        self._found.setdefault(key, Broken(owner, problem, cause))

    @contextmanager
    def step(self) -> Iterator[None]:
        """What is found in it ends it, and not the check."""
        try:
            yield
        except Broken as broken:
            self.add(broken.owner, broken.problem, broken.cause)

    def finish(self) -> None:
        """Raises PluginError listing what was found, if anything was."""
        if not self._found:
            return
        found = list(self._found.values())
        owners = list(dict.fromkeys(one.owner.__name__ for one in found))
        if len(found) == 1:
            text = f"{owners[0]} breaks its contract: {found[0].problem}."
        elif len(owners) == 1:
            text = "\n- ".join(
                [f"{owners[0]} breaks its contract in {len(found)} points:", *(one.problem for one in found)]
            )
        else:
            lines = [f"{one.owner.__name__}: {one.problem}" for one in found]
            text = "\n- ".join([f"{' and '.join(owners)} break their contract:", *lines])
        places = [
            f"{where}. " for owner in dict.fromkeys(one.owner for one in found) if (where := beginning(owner))
        ]
        hint = f"{''.join(places)}The contract is dupekit.api; docs/plugins.md explains it."
        raise PluginError(text, hint=hint) from found[0].cause


def broken(owner: type, problem: str, cause: BaseException | None = None) -> NoReturn:
    """Ends the step."""
    raise Broken(owner, problem, cause)


def call(owner: type, what: str, function: Callable[[], _T]) -> _T:
    """The function's value; what it raises is the plugin's fault, a sys.exit too."""
    try:
        return function()
    except Broken:
        raise
    except Breach as error:
        broken(owner, str(error), error)
    except (Exception, SystemExit) as error:
        text = str(error) if isinstance(error, DupekitError) else f"{type(error).__name__}: {error}"
        where = place(error, owner.__module__)
        broken(owner, f"{what} raised {text}" + (f" ({where})" if where else ""), error)


class Listener:
    """A `Progress` that notes what is wrong with its calls; raising there could be swallowed."""

    cancelled = False

    def __init__(self, findings: Findings, owner: type) -> None:
        self._findings, self._owner = findings, owner

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        try:
            told(stage, done, total, figures)
        except Breach as error:
            self._findings.add(self._owner, str(error), error)


def check_class(findings: Findings, group: str, plugin: type, options: Mapping[str, Any] | None) -> Any:
    """Notes what is wrong with a plugin's class and its options; returns the options that it is to be run with.

    Raises PluginError where it would not be loaded, OptionError for options that it does not take.
    """
    if not isinstance(plugin, type):
        raise PluginError(
            f"{plugin!r} is not a class.", hint="Give the class that the entry point names, not an instance."
        )
    for problem in class_problems(group, plugin):
        findings.add(plugin, problem)
    findings.finish()
    chosen = options_for(plugin, options or {})
    for field in fields(plugin.Options):  # type: ignore[attr-defined]
        if not field.metadata.get("help"):
            findings.add(plugin, f"its option {field.name} has no description: metadata={{'help': ...}}")
    try:  # as they travel in job.json
        again = options_for(plugin, json.loads(json.dumps(as_values(chosen))))
    except Exception as error:
        findings.add(plugin, f"its Options do not pass through JSON: {error}", error)
    else:
        if again != chosen:
            findings.add(plugin, f"its Options come back from JSON as {again}, not as {chosen}")
    return chosen
