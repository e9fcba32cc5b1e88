"""A trained model on disk, what it reads, and how its file says so itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dupekit.dataset.images import Fit
from dupekit.errors import PluginError
from dupekit.files.json_text import parse_json


@dataclass(frozen=True, slots=True)
class PixelInput:
    """The model reads "pixels": float32, shape (n, channels, size_px, size_px), pixels / 255, standardised."""

    size_px: int
    channels: int
    mean: tuple[float, ...]
    """One value a channel, of pixels / 255; likewise `std`."""
    std: tuple[float, ...]
    fit: Fit = "pad"
    log_size: bool = False
    """The model also reads "log_size": float32, (n, 2), natural logarithms of width and height."""
    kind: Literal["pixels"] = field(default="pixels", init=False)


@dataclass(frozen=True, slots=True)
class FeatureInput:
    """The model reads "features": float32, shape (n, dim), of the cached array `features`."""

    features: str
    """Name of the array in the cache; see `Cache.array` and `Cache.stored`."""
    log_size: bool = False
    """The model also reads "log_size": float32, (n, 2), natural logarithms of width and height."""
    kind: Literal["features"] = field(default="features", init=False)


Input = PixelInput | FeatureInput
"""What a model reads, so that a validator can prepare it from the cache. It returns one output: probabilities,
float32, shape (n, classes)."""

_INPUTS: dict[str, type[PixelInput] | type[FeatureInput]] = {"pixels": PixelInput, "features": FeatureInput}


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model on disk."""

    path: Path
    format: str
    """Such as "onnx"; a validator states which formats it accepts."""
    classes: tuple[str, ...]
    input: Input
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Figures worth keeping in result.json, such as epochs or final loss. JSON values only."""


METADATA_KEY = "dupekit"
"""Under which a model file carries what `model_metadata` says, in ONNX's `metadata_props` for one."""


def model_metadata(model: Model) -> dict[str, str]:
    """What a model file must carry so that it can be used without dupekit's records: input and classes.

    One entry, `METADATA_KEY`, whose value is JSON; `read_metadata` is its inverse.
    """
    # The model's path is where it lies now: not the model's own.
    return {METADATA_KEY: json.dumps({"version": 1, "classes": model.classes, "input": asdict(model.input)})}


def read_metadata(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], Input]:
    """Classes and input of a model from its file's metadata, as `model_metadata` wrote them.

    Raises PluginError where they are missing, damaged, or of a newer dupekit.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise PluginError(
            f"The model file has no metadata {METADATA_KEY!r}: it does not say what it reads",
            hint="A trainer adds dupekit.api.model_metadata(model) to the files that it writes.",
        )
    try:
        content = parse_json(text)
        if content["version"] != 1:
            raise ValueError(f"version {content['version']}, not 1")
        classes = tuple(content["classes"])
        if not all(isinstance(name, str) for name in classes):
            raise ValueError("not names of classes")
        return classes, _input(content["input"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PluginError(f"The model file's metadata {METADATA_KEY!r} is damaged: {error}") from None


def _input(content: Mapping[str, Any]) -> Input:
    kind: Any = _INPUTS.get(content["kind"])
    if kind is None:
        raise ValueError(f"an input of kind {content['kind']!r}")
    known = {entry.name for each in _INPUTS.values() for entry in fields(each)}
    if unknown := content.keys() - known:  # the first dupekit wrote the other kind's fields as well
        raise ValueError(f"an input with {', '.join(sorted(unknown))}")
    own = {entry.name for entry in fields(kind) if entry.init} & content.keys()
    made: Input = kind(
        **{name: tuple(content[name]) if isinstance(content[name], list) else content[name] for name in own}
    )
    return made
