"""Entry points -> plugins: their names, their classes, their options.

Names are read from the installed distributions' metadata; a plugin is imported only when it is used, so
that a broken one hurts nobody who does not use it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dupekit.errors import OptionError, PluginError, UsageError
from dupekit.plugin.contract import EXECUTORS, TRAINERS, VALIDATORS, Executor, Trainer, Validator

GROUPS = {TRAINERS: "trainer", VALIDATORS: "validator", EXECUTORS: "executor"}
_CONTRACTS: dict[str, type] = {TRAINERS: Trainer, VALIDATORS: Validator, EXECUTORS: Executor}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered name. `clash` names the other distributions that register it too."""

    group: str
    name: str
    target: str
    """As in "package.module:Class"."""
    distribution: str
    version: str
    clash: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    type: str
    default: Any
    help: str


def plugins(group: str) -> dict[str, Plugin]:
    """The plugins of a group by name, sorted, without importing any."""
    found: dict[str, Plugin] = {}
    for point in sorted(metadata.entry_points(group=group), key=lambda point: point.name):
        distribution = point.dist.name if point.dist else "unknown"
        version = point.dist.version if point.dist else ""
        known = found.get(point.name)
        if known is None:
            found[point.name] = Plugin(group, point.name, point.value, distribution, version)
        elif known.target != point.value:  # the same one twice is a distribution found on two paths
            found[point.name] = dataclasses.replace(known, clash=(*known.clash, distribution))
    return found


def load(group: str, name: str) -> type[Any]:
    """The plugin's class.

    Raises UsageError for an unknown name; PluginError where two distributions claim it, where it cannot
    be imported, and where it lacks what the contract asks for.
    """
    kind = GROUPS[group]
    known = plugins(group)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"There is no {kind} {name!r}.{guess}",
            hint=f"Installed {kind}s: {', '.join(known) or 'none'}.",
        )
    plugin = known[name]
    if plugin.clash:
        raise PluginError(
            f"The {kind} {name!r} is registered by {', '.join((plugin.distribution, *plugin.clash))}.",
            hint="Uninstall all but one of them.",
        )
    point = next(p for p in metadata.entry_points(group=group, name=name) if p.value == plugin.target)
    try:
        found = point.load()
    except Exception as error:
        raise PluginError(
            f"The {kind} {name!r} of {plugin.distribution} cannot be loaded: {type(error).__name__}: {error}",
            hint=f"Its class is {plugin.target}; see that what it needs is installed.",
        ) from error
    missing = [member for member in _members(_CONTRACTS[group]) if not hasattr(found, member)]
    if missing:
        raise PluginError(
            f"The {kind} {name!r} of {plugin.distribution} has no {', '.join(missing)}.",
            hint="See dupekit.api for what a plugin must have.",
        )
    return found  # type: ignore[no-any-return]


def describe(plugin: type[Any]) -> list[Option]:
    """The options of a plugin's class, in their order."""
    return [
        Option(
            field.name,
            field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type)),
            None if field.default is dataclasses.MISSING else field.default,
            field.metadata.get("help", ""),
        )
        for field in dataclasses.fields(plugin.Options)
    ]


def options_for(plugin: Any, values: Mapping[str, Any]) -> Any:
    """An instance of the plugin's Options; text is converted to the field's type.

    Raises OptionError for an option it does not have or a value it does not take.
    """
    owner: type[Any] = plugin if isinstance(plugin, type) else type(plugin)
    known = [option.name for option in describe(owner)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise OptionError(
                f"{owner.__name__} has no option {name!r}.{guess}",
                hint=f"Its options: {', '.join(known) or 'none'}. See `dupekit plugins show`.",
            )
    try:
        return TypeAdapter(owner.Options).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionError(
            f"{owner.__name__} does not take {where}={first['input']!r}: {first['msg']}.",
            hint="See `dupekit plugins show` for its options, their types and defaults.",
        ) from None


def as_values(options: Any) -> dict[str, Any]:
    """The options as JSON values."""
    values: dict[str, Any] = TypeAdapter(type(options)).dump_python(options, mode="json")
    return values


def _members(contract: type) -> Iterable[str]:
    return sorted(name for name in (*vars(contract), *contract.__annotations__) if not name.startswith("_"))
