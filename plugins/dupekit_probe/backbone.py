"""Finds or makes the backbone's ONNX file, and computes every image's features once.

Backbones that are made stay in the cache folder under `backbones/`, so that the next process needs
neither torch nor an exporter to have them.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from dupekit.api import (
    METADATA_KEY,
    RULES,
    Cache,
    Images,
    Model,
    OptionError,
    PixelInput,
    PluginError,
    Progress,
    Rows,
    atomic_write,
    model_metadata,
    read_metadata,
)
from dupekit_nets.engine import batch_size, open_session, output, run_all
from dupekit_nets.feeds import check_pixels, standardised
from dupekit_nets.lite0 import load_weights
from dupekit_nets.pretrained import TORCHVISION
from dupekit_probe import lite0, torchvision_models
from dupekit_probe.options import DEFAULT_BACKBONE

# What torchvision's networks, and most others, were trained with; for grey their mean over the colours.
_IMAGENET = {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 1: ((0.449,), (0.226,))}

_HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network that turns images into features, opened."""

    session: Any
    input: PixelInput
    dim: int
    pools: int
    """So many of the features, the first ones, are of earlier layers; the others are the last layer's."""
    cached_as: str
    """Name of the cached array: another network, other weights or other pixels have another name."""


def open_backbone(spec: str, *, size_px: int, cache: Cache, device: str) -> Backbone:
    """The backbone that the option names: "efficientnet-lite0", "torchvision:NAME" or an ONNX file.

    Raises OptionError for what is none of these or does not read images of this size, PluginError where
    it cannot be made or read.
    """
    pools = 0
    if spec == DEFAULT_BACKBONE:
        label, pools = f"{spec}-pools", lite0.POOLS
        content = _kept(cache, f"{label}-{size_px}", lambda: _make_lite0(size_px))
    elif spec.startswith(TORCHVISION):
        name = spec.removeprefix(TORCHVISION)
        label = f"torchvision-{_safe(name)}"
        content = _kept(cache, f"{label}-{size_px}", lambda: _make_torchvision(name, size_px))
    else:
        label, content = f"file-{_safe(Path(spec).stem)}", _read_file(spec)
    session = open_session(content, device=device)  # no TF32: the cache keeps features for every device
    given, dim = _describe(session, spec, size_px)
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Backbone(session, given, dim, pools, f"features-{label}-{size_px}-{digest}-{RULES}")


def compute_features(backbone: Backbone, images: Images, cache: Cache, progress: Progress) -> Rows:
    """The features of these images, from the cache where it has them: rows (dim,), float16.

    Half precision halves the cache and was measured to change neither accuracy nor ranking.
    """
    array = cache.array(backbone.cached_as, (backbone.dim,), np.float16)
    return array.fill(
        images, lambda missing: _compute(backbone, missing, cache), stage="features", progress=progress
    )


def _compute(backbone: Backbone, images: Images, cache: Cache) -> Iterator[NDArray[np.float16]]:
    given = backbone.input
    squares = cache.decode(images, size_px=given.size_px, channels=given.channels, fit=given.fit)
    return run_all(backbone.session, functools.partial(_infer, backbone), squares)


def _infer(backbone: Backbone, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    session, given = backbone.session, backbone.input
    name = session.get_inputs()[0].name
    size = batch_size(session, pixels[0].size)
    found = []
    for at in range(0, len(pixels), size):
        feed = {name: standardised(pixels[at : at + size], given.mean, given.std)}
        try:
            found.append(output(session, feed))
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            raise PluginError(f"The backbone failed: {error}") from None
    features = np.concatenate(found).reshape(len(pixels), backbone.dim)
    if not np.isfinite(features).all():
        raise PluginError("The backbone gave features that are not finite.")
    halves: NDArray[np.float16] = np.clip(features, -_HALF_MAX, _HALF_MAX).astype(np.float16)
    return halves


def _describe(session: Any, spec: str, size_px: int) -> tuple[PixelInput, int]:
    """What a backbone reads, and how many features it gives."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    metadata = session.get_modelmeta().custom_metadata_map
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise PluginError(
            f"The backbone {spec} must have one input of shape (n, channels, height, width) and one output,"
            f" and has {len(inputs)} and {len(outputs)}."
        )
    batch, channels, height, width = inputs[0].shape
    shape = [size for size in outputs[0].shape[1:] if size != 1]  # some leave (n, dim, 1, 1)
    if inputs[0].type != "tensor(float)" or len(shape) != 1 or not isinstance(shape[0], int):
        raise PluginError(
            f"The backbone {spec} must read float32 and give an array (n, dim) of a known dim; it reads"
            f" {inputs[0].type} and gives {outputs[0].shape}."
        )
    if isinstance(batch, int) and batch != 1:
        raise PluginError(
            f"The backbone {spec} takes batches of {batch} only.",
            hint="Export it with a dynamic first dimension.",
        )
    if METADATA_KEY in metadata:
        reads = read_metadata(metadata)[1]
        if not isinstance(reads, PixelInput):
            raise PluginError(f"The backbone {spec} reads {reads.kind} by its metadata, not pixels.")
        given = reads
    elif channels in _IMAGENET:
        mean, std = _IMAGENET[channels]
        given = PixelInput(size_px, channels=channels, mean=mean, std=std)
    else:
        raise PluginError(f"The backbone {spec} reads {channels} channels, and not 1 or 3.")
    check_pixels(given)
    wanted = {size for size in (height, width, given.size_px) if isinstance(size, int)}
    if wanted != {size_px}:
        sizes = " and ".join(str(size) for size in sorted(wanted))
        raise OptionError(f"The backbone {spec} reads images of {sizes} pixels, and image_size={size_px}.")
    return given, shape[0]


def _make_lite0(size_px: int) -> bytes:
    return _with_input(lite0.build(load_weights(), size_px=size_px), lite0.given_input(size_px))


def _make_torchvision(name: str, size_px: int) -> bytes:
    content, given = torchvision_models.export(name, size_px=size_px)
    return _with_input(onnx.load_model_from_string(content), given)


def _with_input(model: Any, given: PixelInput) -> bytes:
    onnx.helper.set_model_props(model, model_metadata(Model(Path(), "onnx", (), given)))
    content: bytes = model.SerializeToString()
    return content


def _kept(cache: Cache, name: str, make: Callable[[], bytes]) -> bytes:
    """The content of a backbone's file in the cache folder, made if it is not there."""
    path = cache.folder / "backbones" / f"{name}.onnx"
    if not path.is_file():
        content = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    return path.read_bytes()


def _read_file(spec: str) -> bytes:
    path = Path(spec).expanduser()
    if not path.is_file():
        raise OptionError(
            f"There is no backbone {spec!r}.",
            hint=f'Backbones are "{DEFAULT_BACKBONE}", "{TORCHVISION}NAME" such as "{TORCHVISION}resnet18", and'
            " the path of an ONNX file.",
        )
    return path.read_bytes()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60]
