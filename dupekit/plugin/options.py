"""What a user may set of a plugin: its options, which values they take, and an instance of them."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import TypeAdapter, ValidationError

from dupekit.errors import DupekitError, OptionError
from dupekit.files.json_text import parse_json

_HINT = "See `dupekit plugins show` for its options, their types and defaults."


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


def describe(plugin: type[Any]) -> list[Option]:
    """The options of a plugin's class, in their order."""
    types = option_types(plugin.Options)
    described = []
    for field in dataclasses.fields(plugin.Options):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        made = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = made if field.default is dataclasses.MISSING else field.default
        hint, text = types[field.name], field.metadata.get("help", "")
        described.append(
            Option(field.name, _name(hint), valid_values(hint), required, None if required else default, text)
        )
    return described


def options_for(plugin: Any, values: Mapping[str, Any]) -> Any:
    """An instance of the plugin's Options; text is converted to the field's type, and bounds are checked.

    Raises OptionError for an option it does not have, a value it does not take, or one that is missing.
    """
    owner: type[Any] = plugin if isinstance(plugin, type) else type(plugin)
    types = option_types(owner.Options)
    for name in values:
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise OptionError(
                f"{owner.__name__} has no option {name!r}.{guess}",
                hint=f"Its options: {', '.join(types) or 'none'}. See `dupekit plugins show`.",
            )
    for option in describe(owner):
        if option.required and option.name not in values:
            valid = f": {option.valid}" if option.valid else ""
            raise OptionError(f"{owner.__name__} needs a value for {option.name!r}{valid}.", hint=_HINT)
    chosen = {}
    for name, value in values.items():
        try:
            chosen[name] = _converted(value, types[name])
        except ValueError as problem:
            raise OptionError(
                f"{owner.__name__} does not take {name}={value!r}: {problem}.", hint=_HINT
            ) from None
    try:
        return owner.Options(**chosen)
    except DupekitError:
        raise
    except Exception as problem:  # what the class itself says of two options together, or fails at
        said = str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"
        raise OptionError(f"{owner.__name__} does not take these options: {said}", hint=_HINT) from problem


def default_problems(options: type[Any]) -> list[str]:
    """What is wrong with the defaults of the fields: those that a user could not give."""
    types = option_types(options)
    problems = []
    for field in dataclasses.fields(options):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            continue
        try:
            _converted(default, types[field.name])
        except ValueError as problem:
            problems.append(f"the default of its option {field.name} is {default!r}: {problem}")
    return problems


def as_values(options: Any) -> dict[str, Any]:
    """The options as JSON values."""
    values: dict[str, Any] = TypeAdapter(type(options)).dump_python(options, mode="json")
    return values


def option_types(options: type[Any]) -> dict[str, Any]:
    """The type of each field, with its bounds. Raises NameError for a type that is not to be found."""
    hints = get_type_hints(options, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(options)}


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
    bounds = list(metadata)
    least = next((bound.ge for bound in bounds if isinstance(bound, Ge)), None)
    above = next((bound.gt for bound in bounds if isinstance(bound, Gt)), None)
    most = next((bound.le for bound in bounds if isinstance(bound, Le)), None)
    below = next((bound.lt for bound in bounds if isinstance(bound, Lt)), None)
    said = []
    if above is not None:
        said.append(f"above {above}")
    elif least is not None:
        said.append(f"from {least}" if most is not None or below is not None else f"from {least} on")
    if below is not None:
        said.append(f"to below {below}" if least is not None else f"below {below}")
    elif most is not None:
        said.append(f"to {most}" if least is not None else f"up to {most}")
    return said


def _converted(value: Any, hint: Any) -> Any:
    """The value as the type asks. Raises ValueError that says what would be right."""
    attempts = [value]
    if isinstance(
        value, str
    ):  # --set gives text; JSON is what pydantic does not read from text, such as [1, 2]
        with contextlib.suppress(ValueError):
            attempts.append(parse_json(value))
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


def _name(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _name(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(_name(part) for part in get_args(hint))
    if hint is type(None):
        return "None"
    return getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint).replace("typing.", "")
