"""Writes heads as one ONNX file: raw features and sizes in, the mean of their probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dupekit.api import Model, atomic_write, model_metadata
from dupekit_probe.networks import Head
from dupekit_probe.prepared import Scaling

_OPSET = 17
_IR_VERSION = 8  # what goes with the opset; onnx's newest may be too new for onnxruntime
_FLOAT = onnx.TensorProto.FLOAT


def write_heads(model: Model, heads: Sequence[Head], scaling: Scaling, *, dim: int) -> None:
    """Writes `model.path`, in milliseconds: what was done to the features in training stands in the graph."""
    graph = _Graph()
    inputs = [helper.make_tensor_value_info("features", _FLOAT, ["n", dim])]
    at = "features"
    if scaling.square_root:
        root = graph.add("Sqrt", graph.add("Abs", at))
        at = graph.add("Mul", root, graph.add("Sign", at))
    if model.input.log_size:
        inputs.append(helper.make_tensor_value_info("log_size", _FLOAT, ["n", 2]))
        pools = graph.columns(at, slice(0, scaling.pools))
        at = graph.add("Concat", pools, "log_size", graph.columns(at, slice(scaling.pools, dim)), axis=1)
    at = graph.add("Sub", at, graph.constant(scaling.mean))
    at = graph.add("Div", at, graph.constant(scaling.std))
    graph.add("Mean", *(graph.probabilities(at, head) for head in heads), named="probabilities")
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "heads",
            inputs,
            [helper.make_tensor_value_info("probabilities", _FLOAT, ["n", len(model.classes)])],
            graph.tensors,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="dupekit",
    )
    helper.set_model_props(made, model_metadata(model))
    with atomic_write(model.path) as file:
        file.write(made.SerializeToString())


class _Graph:
    """The nodes and tensors so far."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def add(self, kind: str, *inputs: str, named: str | None = None, **attributes: Any) -> str:
        """Appends a node; the name of its output."""
        output = named or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        name = f"tensor_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def columns(self, at: str, part: slice) -> str:
        """Those columns of an array (n, ...)."""
        bounds = (self.constant(np.array([value], np.int64)) for value in (part.start, part.stop, 1))
        return self.add("Slice", at, *bounds)

    def probabilities(self, at: str, head: Head) -> str:
        at = self.columns(at, head.columns)
        for number, layer in enumerate(head.layers):
            at = self.add("Relu", at) if number else at
            at = self.add("Gemm", at, self.constant(layer.weight), self.constant(layer.bias), transB=1)
        return self.add("Softmax", at, axis=1)
