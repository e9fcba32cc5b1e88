"""Why a run failed, in words that name the plugin, its file and line, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dupekit.errors import DupekitError, PluginError
from dupekit.plugin.checks import Breach
from dupekit.plugin.contract import EXECUTORS, TRAINERS, VALIDATORS
from dupekit.plugin.place import beginning, line_of, place
from dupekit.plugin.registry import GROUPS, check_hint

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
    where = place(error, type(at.plugin).__module__)
    if isinstance(error, Breach):
        said = f"{at} broke its contract: {error}"
        where = where or _beginning(at)
    elif isinstance(error, SystemExit):
        said = f"{at} called sys.exit({error.code!r})"
    else:
        said = f"{type(error).__name__}: {error}"
    said = f"{said} ({where})" if where else said
    return PluginError(said, hint=check_hint(at.name))


def _beginning(at: Named) -> str | None:
    """Where the method stands that gave what it may not: nothing was raised there."""
    plugin = type(at.plugin)
    method = next(name for name in _METHODS[at.group] if hasattr(plugin, name))
    owner = next((base for base in plugin.__mro__ if method in vars(base)), plugin)
    function = getattr(plugin, method)
    code = getattr(function, "__code__", None)
    if code is None or owner.__module__.partition(".")[0] != plugin.__module__.partition(".")[0]:
        return beginning(plugin)  # no function of Python's, or inherited from another package
    return f"{method}() begins in {line_of(code.co_filename, function.__module__, code.co_firstlineno)}"
