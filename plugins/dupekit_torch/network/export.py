"""Trained networks as ONNX files: one export a worker, then only the weights are put in their places.

`torch.onnx.export` takes seconds, a training on a GPU may take less. All runs of a worker share one
network, so the graph is exported once, without optimisations that would merge weights, and every run's
parameters and statistics are written into the initializers of the same names. onnxruntime does those
optimisations itself when it loads the file.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dupekit.api import Model, PluginError, atomic_write, model_metadata
from dupekit_torch.network.classifier import Classifier, Spec, build
from dupekit_torch.pixels.augment import views

TOLERANCE = 1e-3
"""By which a probability of the file may differ from the trained network's, in float32."""


class Probabilities(nn.Module):
    """A classifier with softmax: what is exported.

    The logits are the mean over each image's views under the symmetries `codes` (test-time augmentation).
    """

    def __init__(self, net: Classifier, codes: Sequence[int]) -> None:
        super().__init__()
        self.net, self.codes = net, codes

    def forward(self, pixels: Tensor, log_size: Tensor | None = None) -> Tensor:
        count = len(self.codes)
        if count > 1:
            pixels = views(pixels, self.codes)
            log_size = None if log_size is None else log_size.repeat(count, 1)
        logits: Tensor = self.net(pixels, log_size)
        if count > 1:
            logits = logits.reshape(count, -1, logits.shape[1]).mean(0)
        return logits.softmax(1)


class Exporter:
    """Writes networks of one spec, whose predictions are means over views under the symmetries `codes`.

    Several threads may use it: all their networks go through one graph, one at a time.
    """

    def __init__(self, spec: Spec, codes: Sequence[int]) -> None:
        self._lock = threading.Lock()
        # Other weights than any run's: where the check of the first file finds the run's own
        # probabilities, the exchange of the weights works.
        self._twin = Probabilities(build(spec, seed=0), codes).eval()
        self._graph = _export(self._twin, _example(spec))
        self._places = {tensor.name: tensor for tensor in self._graph.graph.initializer}
        lost = {
            name for name in self._twin.state_dict() if not name.endswith("num_batches_tracked")
        } - self._places.keys()
        if lost:
            raise PluginError(f"torch.onnx.export of this PyTorch renames weights: {min(lost)} is missing")

    def write(self, network: Classifier, model: Model, *, check: tuple[Tensor, ...]) -> None:
        """Puts a network into the file `model.path`, with the model's metadata.

        `check` are inputs, as the graph takes them, for which the file must give the same probabilities
        as the network; raises PluginError where it does not.
        """
        with self._lock:
            content = self._content(network, model)
            self._check(content, check)
        with atomic_write(model.path) as file:
            file.write(content)

    def _content(self, network: Classifier, model: Model) -> bytes:
        import onnx

        self._twin.net.load_state_dict(network.state_dict())
        for name, value in self._twin.state_dict().items():
            if name in self._places:
                place = self._places[name]
                place.CopyFrom(onnx.numpy_helper.from_array(value.contiguous().numpy(), name))
        onnx.helper.set_model_props(self._graph, model_metadata(model))
        content: bytes = self._graph.SerializeToString()
        return content

    def _check(self, content: bytes, inputs: tuple[Tensor, ...]) -> None:
        with torch.no_grad():
            expected = self._twin(*inputs).numpy()
        found = run_onnx(content, inputs)
        difference = float(np.abs(found - expected).max(initial=0))
        if not difference <= TOLERANCE:
            raise PluginError(
                f"The exported model differs from the trained one: probabilities by up to {difference:.2g}.",
                hint="Please report this with your versions of torch, onnx and onnxruntime.",
            )


def run_onnx(content: bytes, inputs: tuple[Tensor, ...]) -> NDArray[np.float32]:
    """The probabilities that a model file's content gives on the CPU, shape (n, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # a few images; other trainings have the processors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = ("pixels", "log_size")
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=False)}
    result: NDArray[np.float32] = session.run(None, feed)[0]
    return result


def _example(spec: Spec) -> tuple[Tensor, ...]:
    pixels = torch.zeros(2, spec.channels, spec.size_px, spec.size_px)
    return (pixels,) if spec.log_size is None else (pixels, torch.zeros(2, 2))


def _export(network: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    names = ["pixels", "log_size"][: len(inputs)]
    count = torch.export.Dim("images")
    # The exporter warns of its own affairs (deprecated calls inside PyTorch, shared axis names) and
    # prints; neither is for our users, and what matters is checked on the file.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            opset_version=18,  # onnxruntime on CUDA has all of it; of later ones parts only since 2026
            optimize=False,
            verbose=False,
            external_data=False,
            input_names=names,
            output_names=["probabilities"],
            dynamic_shapes={name: {0: count} for name in names},
        )
    assert program is not None
    graph = program.model_proto
    for part in (*graph.graph.node, *graph.graph.input, *graph.graph.output, *graph.graph.value_info):
        part.ClearField("metadata_props")  # stack traces, with the paths of this installation
    graph.graph.ClearField("metadata_props")
    return graph
