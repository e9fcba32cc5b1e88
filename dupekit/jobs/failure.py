"""Why a run failed, in words that name the plugin, its file and line, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dupekit.errors import DupekitError, PluginError
from dupekit.plugin.checks import Breach
from dupekit.plugin.contract import EXECUTORS, TRAINERS, VALIDATORS
from dupekit.plugin.registry import GROUPS

_METHODS = {TRAINERS: ("train_many", "train"), VALIDATORS: ("predict",), EXECUTORS: ("run",)}


@dataclass(frozen=True, slots=True)
class Named:
    """A plugin at work, under the name that it is registered by."""

    group: str
    name: str
    plugin: Any
    """The instance."""

    def __str__(self) -> str:
        """As in "The trainer 'x' (XTrainer)"."""
        return f"The {GROUPS[self.group]} {self.name!r} ({type(self.plugin).__name__})"


def explained(error: BaseException, at: Named) -> DupekitError:
    """The error that says what went wrong in a plugin. What dupekit itself or the plugin says in so many words stays."""
    if isinstance(error, DupekitError):
        return error
    where = place(error, type(at.plugin))
    if isinstance(error, Breach):
        said = f"{at} broke its contract: {error}"
        where = where or _beginning(at)
    elif isinstance(error, SystemExit):
        said = f"{at} called sys.exit({error.code!r})"
    else:
        said = f"{type(error).__name__}: {error}"
    said = f"{said} ({where})" if where else said
    return PluginError(said, hint=f"`dupekit plugins check {at.name}` takes it through its contract.")


def place(error: BaseException, plugin: type) -> str | None:
    """File and line in the plugin's own package where an exception was raised, or came through last."""
    top = plugin.__module__.partition(".")[0]
    package = (
        plugin.__module__ if top == "dupekit" else top
    )  # of the core only the fakes' and executors' own module
    found = None
    step = error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        if module == package or module.startswith(f"{package}."):
            found = _line(step.tb_frame.f_code.co_filename, module, step.tb_lineno)
        step = step.tb_next
    return found


def _beginning(at: Named) -> str | None:
    """Where the method stands that gave what it may not: nothing was raised there."""
    plugin = type(at.plugin)
    method = next(name for name in _METHODS[at.group] if hasattr(plugin, name))
    function = getattr(plugin, method)
    code = getattr(function, "__code__", None)
    if code is None:  # no function of Python's
        return None
    return f"{method}() begins in {_line(code.co_filename, function.__module__, code.co_firstlineno)}"


def _line(filename: str, module: str, number: int) -> str:
    file = Path(filename)
    names = module.count(".") + 1 + (file.stem == "__init__")
    return f"{'/'.join(file.parts[-names:])}, line {number}"
