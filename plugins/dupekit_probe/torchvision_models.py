"""torchvision's networks as backbones, with their default pretrained weights."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

from dupekit.api import Input
from dupekit.errors import OptionError, PluginError


def export(name: str, *, size_px: int) -> tuple[bytes, Input]:
    """The network as ONNX without its last linear layer, and what it reads. Takes some ten seconds.

    Weights come through torchvision's own loading: from torch's hub folder, else downloaded into it.
    Raises OptionError for a network that torchvision does not have or that has no linear layer at its
    end, PluginError where the weights cannot be had.
    """
    try:
        import torch
        import torchvision
    except ImportError as error:
        raise PluginError(
            f"The backbone torchvision:{name} cannot be made: {error}",
            hint='Install torchvision with: pip install "dupekit[torch]"',
        ) from None
    known = torchvision.models.list_models(module=torchvision.models)  # classifiers only
    if name not in known:
        raise OptionError(
            f"torchvision has no classification network {name!r}.", hint=f"It has: {', '.join(known)}."
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    network = _load(name, weights).eval()
    linear = [at for at, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        raise OptionError(f"torchvision:{name} does not end with a linear layer and cannot be a backbone.")
    network.set_submodule(linear[-1], torch.nn.Identity())
    presets = weights.transforms()
    given = Input("pixels", size_px=size_px, channels=3, mean=tuple(presets.mean), std=tuple(presets.std))
    return _onnx(network, name, size_px), given


def _load(name: str, weights: Any) -> Any:
    import torch
    import torchvision

    try:
        return torchvision.models.get_model(name, weights=weights, progress=False)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise PluginError(
            f"The weights of torchvision:{name} cannot be had: {error}",
            hint=f"Without a network, fetch {weights.url} elsewhere and put it at {file}, whole.",
        ) from None


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
