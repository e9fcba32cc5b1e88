"""One step of a training: a batch goes in, the network moves, the loss comes out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from dupekit_torch.fit.descent import Descent
from dupekit_torch.fit.loss import Loss
from dupekit_torch.network.classifier import Classifier
from dupekit_torch.pixels.batches import Batch

log = logging.getLogger("dupekit.torch")

WARM_UPS = 3
"""Steps before one is captured: in the first ones libraries take their memory and AdamW makes its state."""


@dataclass(frozen=True, slots=True, eq=False)
class _Captured:
    graph: torch.cuda.CUDAGraph
    batch: Batch
    """Where the graph reads."""
    loss: Tensor
    """Where it writes."""


class Step:
    """Forward and backward pass and descent of one network, for one training after the other; it lives as long as the network.

    Captured, all of it is one CUDA graph: the some two hundred kernels of a step are started by one call, where Python
    takes longer to start them than a GPU to compute them.
    """

    def __init__(self, network: Classifier, loss: Loss, descent: Descent, device: torch.device) -> None:
        self.network, self.loss = network, loss
        self.parts = 1
        """In so many parts a batch goes through the network."""
        self._descent = descent
        # A graph reads the rate from memory. On CPU a number is exact, and its last digits count.
        self._rate = torch.zeros((), device=device) if device.type == "cuda" else None
        self._captured: _Captured | None = None

    @property
    def captured(self) -> bool:
        return self._captured is not None

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        """The loss before the step, a tensor of its own."""
        if self._rate is not None:
            # A kernel in the stream's order: steps that still wait there read their own rate.
            self._rate.fill_(learning_rate)
        if self._captured is None:
            return self._run(batch, learning_rate if self._rate is None else self._rate)
        torch._foreach_copy_(list(self._captured.batch), list(batch))
        self._captured.graph.replay()
        return self._captured.loss.clone()

    def reset(self) -> None:
        """Forgets gradients and the state of the descent, in place; weights are the caller's."""
        self.network.zero_grad(set_to_none=True)
        self._descent.reset()

    def in_parts(self, parts: int) -> None:
        """From now on a batch goes through the network in so many, and nothing is captured: memory is scarce."""
        self.parts, self._captured = parts, None

    def capture(self, trial: Batch) -> None:
        """Captures it for batches of `trial`'s shapes, in the current stream, which must not be the default one.

        The trial's tensors become the graph's. Weights and state are moved: a training must begin with new ones. Nothing
        else may use the device meanwhile. Where PyTorch cannot capture it, the log says so and it stays as it is.
        """
        assert self._rate is not None
        try:
            stream = torch.cuda.current_stream(self._rate.device)
            with torch.cuda.device(stream.device):
                for _ in range(WARM_UPS):
                    self._run(trial, self._rate)
                graph = torch.cuda.CUDAGraph()
                # Of a stream of its own: graphs of several lanes that share one would share the workspaces of libraries, too.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    loss = self._run(trial, self._rate)
        except Exception as error:  # of PyTorch, CUDA, or a network that reads from the device
            reason = str(error).partition("\n")[0] or type(error).__name__
            log.warning("a step cannot be captured as a CUDA graph, training goes on without: %s", reason)
        else:
            self._captured = _Captured(graph, trial, loss)
        self.reset()

    def _run(self, batch: Batch, learning_rate: float | Tensor) -> Tensor:
        loss = self._gradients(batch)
        self._descent.step(learning_rate)
        return loss

    def _gradients(self, batch: Batch) -> Tensor:
        """Adds them up in the network; the batch's loss."""
        if self.parts == 1:
            mean = self.loss(batch)
            mean.backward()  # type: ignore[no-untyped-call]
            return mean.detach()
        total = torch.zeros((), device=batch.pixels.device)
        for part in batch.parts(self.parts):
            mean = self.loss(part) * (len(part.pixels) / len(batch.pixels))
            mean.backward()  # type: ignore[no-untyped-call]
            total += mean.detach()
        return total
