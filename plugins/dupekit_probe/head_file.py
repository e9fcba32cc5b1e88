"""Writes a head as an ONNX file: raw features and sizes in, probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dupekit.api import Model, atomic_write, model_metadata
from dupekit_probe.heads import Head

_OPSET = 17
_IR_VERSION = 8  # what goes with the opset; onnx's newest may be too new for onnxruntime
_FLOAT = onnx.TensorProto.FLOAT


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """How features are prepared for a head."""

    mean: NDArray[np.float32]
    """Shape (dim,) or, with log width and height as the last two, (dim + 2,)."""
    std: NDArray[np.float32]
    square_root: bool


def write_head(model: Model, head: Head, scaling: Scaling, *, dim: int) -> None:
    """Writes `model.path`, in milliseconds: what was done to the features in training stands in the graph."""
    nodes: list[Any] = []
    inputs = [helper.make_tensor_value_info("features", _FLOAT, ["n", dim])]
    at = "features"
    if scaling.square_root:
        nodes += [
            helper.make_node("Abs", [at], ["size"]),
            helper.make_node("Sqrt", ["size"], ["root"]),
            helper.make_node("Sign", [at], ["sign"]),
            helper.make_node("Mul", ["root", "sign"], ["signed_root"]),
        ]
        at = "signed_root"
    if model.input.log_size:
        inputs.append(helper.make_tensor_value_info("log_size", _FLOAT, ["n", 2]))
        nodes.append(helper.make_node("Concat", [at, "log_size"], ["all"], axis=1))
        at = "all"
    nodes += [
        helper.make_node("Sub", [at, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["standardised"]),
        helper.make_node("Gemm", ["standardised", "weight", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    tensors = {"mean": scaling.mean, "std": scaling.std, "weight": head.weight, "bias": head.bias}
    graph = helper.make_graph(
        nodes,
        "head",
        inputs,
        [helper.make_tensor_value_info("probabilities", _FLOAT, ["n", len(model.classes)])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in tensors.items()],
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="dupekit",
    )
    helper.set_model_props(made, model_metadata(model))
    with atomic_write(model.path) as file:
        file.write(made.SerializeToString())
