"""torchvision's networks as backbones, with their default pretrained weights."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

from dupekit.api import PixelInput, PluginError
from dupekit_nets import pretrained


def export(name: str, *, size_px: int) -> tuple[bytes, PixelInput]:
    """The network as ONNX without its last layer, and what it reads. Takes some ten seconds.

    Raises as `pretrained.trunk`, and PluginError where the network cannot be exported at this size.
    """
    network = pretrained.trunk(name, pretrained=True).eval()
    mean, std = pretrained.mean_and_std(name, channels=3)
    given = PixelInput(size_px, channels=3, mean=mean, std=std)
    return _onnx(network, name, size_px), given


def _onnx(network: Any, name: str, size_px: int) -> bytes:
    import torch

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        path = Path(folder) / "backbone.onnx"
        try:
            torch.onnx.export(
                network,
                (torch.zeros(2, 3, size_px, size_px),),
                path,
                input_names=["pixels"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # the exporter raises whatever its passes raise
            raise PluginError(
                f"torchvision:{name} cannot be exported at {size_px} pixels: {error}",
                hint="Some networks take one image_size only; or choose another backbone.",
            ) from error
        return path.read_bytes()
