"""A trained model on disk, what it reads, and how its file says so itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dupekit.dataset.images import Fit
from dupekit.errors import PluginError


@dataclass(frozen=True, slots=True)
class Input:
    """What a model reads, so that a validator can prepare it from the cache.

    `kind="pixels"`: array (n, channels, size_px, size_px), pixels / 255, standardised with `mean` and
    `std` (one value a channel), named "pixels" in the model.
    `kind="features"`: array (n, dim) of the cached array `features`, named "features" in the model.
    `log_size`: the model also reads "log_size", array (n, 2), natural logarithms of width and height.
    All are float32. The model returns one output, probabilities (n, classes).
    """

    kind: Literal["pixels", "features"]
    size_px: int = 0
    channels: int = 1
    fit: Fit = "pad"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    features: str = ""
    """Name of the array in the cache, see `Cache.array`."""
    log_size: bool = False


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
    # The model's path, and so `asdict(model)`, is where it lies now: not the model's own.
    return {METADATA_KEY: json.dumps({"version": 1, "classes": model.classes, "input": asdict(model.input)})}


def read_metadata(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], Input]:
    """Classes and input of a model from its file's metadata, as `model_metadata` wrote them.

    Raises PluginError where they are missing, damaged, or of a newer dupekit.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise PluginError(
            f"the model file has no metadata {METADATA_KEY!r}: it does not say what it reads",
            hint="A trainer adds dupekit.api.model_metadata(model) to the files that it writes.",
        )
    try:
        content = json.loads(text)
        if content["version"] != 1:
            raise ValueError(f"version {content['version']}, not 1")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content["input"].items()
        }
        classes = tuple(content["classes"])
        if values["kind"] not in ("pixels", "features") or not all(isinstance(c, str) for c in classes):
            raise ValueError("not a kind of input, or not names of classes")
        return classes, Input(**values)  # refuses a field that this dupekit does not know
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PluginError(f"the model file's metadata {METADATA_KEY!r} is damaged: {error}") from None
