"""Whether a plugin's class fits the contract: its members, how they can be called, its options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from dupekit.plugin.contract import (
    API_VERSION,
    EXECUTORS,
    TRAINERS,
    VALIDATORS,
    Detaches,
    Executor,
    Prepares,
    Previews,
    Trainer,
    TrainsMany,
    Validator,
)
from dupekit.plugin.options import default_problems, option_types

_METHODS: dict[str, Any] = {TRAINERS: Trainer.train, VALIDATORS: Validator.predict, EXECUTORS: Executor.run}
_OPTIONAL: dict[str, tuple[Any, ...]] = {
    TRAINERS: (TrainsMany.train_many, Prepares.prepare),
    EXECUTORS: (Detaches.submit, Detaches.cancel, Previews.dry_run),
}


def class_problems(group: str, plugin: Any) -> list[str]:
    """What a plugin's class lacks or has otherwise than the contract asks, each with what it should have."""
    if not isinstance(plugin, type):
        return [f"it is {plugin!r}, not a class"]
    problems: list[str | None] = [
        _attribute_problem(
            plugin,
            "api_version",
            lambda version: type(version) is int and version == API_VERSION,
            f"the version of the contract that it was written for, such as {API_VERSION}",
        ),
        *_options_problems(plugin),
    ]
    if group == TRAINERS:
        right = "the format of its models, a str such as 'onnx'"
        problems.append(
            _attribute_problem(plugin, "produces", lambda name: isinstance(name, str) and name != "", right)
        )
    if group == VALIDATORS:
        right = "the formats that it reads, a frozenset of str such as frozenset({'onnx'})"
        problems.append(_attribute_problem(plugin, "accepts", _are_formats, right))
    method = _METHODS[group]
    problems.append(_call_problem(plugin, method.__name__, _names_of(method), required=True))
    problems += [_call_problem(plugin, one.__name__, _names_of(one)) for one in _OPTIONAL.get(group, ())]
    if group == EXECUTORS and hasattr(plugin, "submit") != hasattr(plugin, "cancel"):
        problems.append("it has one of submit() and cancel(): what goes on without dupekit needs both")
    problems += [_call_problem(plugin, "close", []), _constructor_problem(plugin)]
    return [problem for problem in problems if problem is not None]


def _attribute_problem(plugin: type, name: str, fits: Callable[[Any], bool], right: str) -> str | None:
    if not hasattr(plugin, name):
        return f"it has no {name}: {right}"
    value = getattr(plugin, name)
    return None if fits(value) else f"its {name} is {value!r}, not {right}"


def _are_formats(value: Any) -> bool:
    return isinstance(value, frozenset) and bool(value) and all(isinstance(name, str) for name in value)


def _options_problems(plugin: type) -> list[str]:
    wrong = _attribute_problem(
        plugin,
        "Options",
        lambda options: isinstance(options, type) and dataclasses.is_dataclass(options),
        "a frozen dataclass",
    )
    if wrong is not None:
        return [wrong]
    options: Any = plugin.Options  # type: ignore[attr-defined]
    problems = []
    if not options.__dataclass_params__.frozen:
        problems.append("its Options is a dataclass that is not frozen, as @dataclass(frozen=True) is")
    try:
        option_types(options)
    except Exception as error:  # whatever evaluating an annotation raises
        return [*problems, f"the types of its Options cannot be found: {type(error).__name__}: {error}"]
    try:
        return problems + default_problems(options)
    except Exception as error:  # of a type that is no option's, or of a default_factory
        return [*problems, f"the defaults of its Options cannot be checked: {type(error).__name__}: {error}"]


def _names_of(method: Any) -> list[str]:
    """What the contract calls the arguments of a method, without self."""
    return list(inspect.signature(method).parameters)[1:]


def _call_problem(plugin: type, name: str, arguments: Sequence[str], *, required: bool = False) -> str | None:
    call = f"{name}({', '.join(arguments)})"
    member = getattr(plugin, name, None)
    if member is None:
        return f"it has no {call}" if required else None
    if not callable(member):
        return f"its {name} is {member!r}, not a method {call}"
    free = isinstance(inspect.getattr_static(plugin, name), staticmethod | classmethod)
    try:
        signature = inspect.signature(member)
    except (TypeError, ValueError):  # written in C
        return None
    try:
        signature.bind(*arguments if free else ["self", *arguments])
    except TypeError:
        return f"its {name}{_without_types(signature)} cannot be called as {call}"
    return None


def _constructor_problem(plugin: type) -> str | None:
    try:
        signature = inspect.signature(plugin)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind()
    except TypeError:
        return (
            f"its constructor {plugin.__name__}{_without_types(signature)} cannot be called without arguments"
        )
    return None


def _without_types(signature: inspect.Signature) -> str:
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
