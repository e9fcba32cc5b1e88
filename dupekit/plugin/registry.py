"""Entry points -> plugins: their names, their classes, their options.

Names are read from the installed distributions' metadata; a plugin is imported only when it is used, so
that a broken one hurts nobody who does not use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
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
    """What a user may set of a plugin."""

    name: str
    type: str
    valid: str | None
    """Which values it takes, in words; None where the type says all."""
    required: bool
    default: Any
    """None where it is required."""
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
        raise UsageError(
            f"There is no {kind} {name!r}.{_guess(name, known)}",
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
    types = _types(plugin.Options)
    described = []
    for field in dataclasses.fields(plugin.Options):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        made = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = made if field.default is dataclasses.MISSING else field.default
        hint = types[field.name]
        described.append(
            Option(
                field.name,
                _name(hint),
                valid_values(hint),
                required,
                default,
                field.metadata.get("help", ""),
            )
        )
    return described


def options_for(plugin: Any, values: Mapping[str, Any]) -> Any:
    """An instance of the plugin's Options; text is converted to the field's type, and bounds are checked.

    Raises OptionError for an option it does not have, a value it does not take, or one that is missing.
    """
    owner: type[Any] = plugin if isinstance(plugin, type) else type(plugin)
    types = _types(owner.Options)
    hint = "See `dupekit plugins show` for its options, their types and defaults."
    for name in values:
        if name not in types:
            raise OptionError(
                f"{owner.__name__} has no option {name!r}.{_guess(name, types)}",
                hint=f"Its options: {', '.join(types) or 'none'}. See `dupekit plugins show`.",
            )
    for option in describe(owner):
        if option.required and option.name not in values:
            valid = f": {option.valid}" if option.valid else ""
            raise OptionError(f"{owner.__name__} needs a value for {option.name!r}{valid}.", hint=hint)
    chosen = {}
    for name, value in values.items():
        try:
            chosen[name] = _converted(value, types[name])
        except ValueError as problem:
            raise OptionError(
                f"{owner.__name__} does not take {name}={value!r}: {problem}.", hint=hint
            ) from None
    try:
        return owner.Options(**chosen)
    except ValueError as problem:  # what the class itself says of two options together
        raise OptionError(f"{owner.__name__} does not take these options: {problem}", hint=hint) from None


def as_values(options: Any) -> dict[str, Any]:
    """The options as JSON values."""
    values: dict[str, Any] = TypeAdapter(type(options)).dump_python(options, mode="json")
    return values


def valid_values(hint: Any) -> str | None:
    """In words, which values a type takes, such as "a whole number from 1 to 64"; None for types without words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base = valid_values(parts[0])
        return base and " ".join([base, *_bounds(parts[1:])])
    if origin is Literal:
        return " or ".join(map(str, parts)) if len(parts) < 3 else f"one of {', '.join(map(str, parts))}"
    if origin in (Union, UnionType):
        described = [valid_values(part) for part in parts if part is not type(None)]
        return ", or ".join(filter(None, described)) if all(described) else None
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words.get(hint)


def _bounds(metadata: Iterable[Any]) -> list[str]:
    low = next((f"from {m.ge}" for m in metadata if isinstance(m, Ge)), None)
    low = next((f"above {m.gt}" for m in metadata if isinstance(m, Gt)), low)
    high = next((f"to {m.le}" for m in metadata if isinstance(m, Le)), None)
    high = next((f"below {m.lt}" for m in metadata if isinstance(m, Lt)), high)
    if low and high and low.startswith("above") and high.startswith("to"):
        high = f"up {high}"
    elif low and high and high.startswith("below"):
        high = f"to {high}"
    elif high and not low:
        high = high.replace("to", "up to", 1)
    elif low and not high and low.startswith("from"):
        low = f"{low} on"
    return [part for part in (low, high) if part]


def _converted(value: Any, hint: Any) -> Any:
    """The value as the type asks. Raises ValueError that says what would be right."""
    attempts = [value]
    if isinstance(
        value, str
    ):  # --set gives text; JSON is what pydantic does not read from text, such as [1, 2]
        with contextlib.suppress(ValueError):
            attempts.append(json.loads(value))
    problem = ""
    for attempt in attempts:
        try:
            converted = TypeAdapter(hint).validate_python(attempt)
        except ValidationError as error:
            problem = problem or error.errors()[0]["msg"]
        else:
            if not isinstance(converted, float) or math.isfinite(converted):
                return converted
            problem = "Input should be a finite number"
    valid = valid_values(hint)
    raise ValueError(f"it must be {valid}" if valid else problem)


def _types(options: type[Any]) -> dict[str, Any]:
    """The type of each field, with its bounds."""
    hints = get_type_hints(options, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(options)}


def _name(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _name(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(_name(part) for part in get_args(hint))
    if hint is type(None):
        return "None"
    return getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint).replace("typing.", "")


def _guess(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _members(contract: type) -> Iterable[str]:
    return sorted(name for name in (*vars(contract), *contract.__annotations__) if not name.startswith("_"))
