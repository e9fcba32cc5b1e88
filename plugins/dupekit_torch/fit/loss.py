"""The loss of a batch, from stored pixels to a number, and its compiling."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dupekit.api import PixelInput, PluginError
from dupekit_torch.device import is_out_of_memory
from dupekit_torch.pixels.augment import move
from dupekit_torch.pixels.batches import Batch

log = logging.getLogger("dupekit.torch")

Loss = Callable[[Batch], Tensor]
"""Mean loss of a batch."""


def image_weights(labels: Tensor, balance: str, given: NDArray[np.float32] | None = None) -> Tensor:
    """How much each image counts in the loss, shape (n,), of mean 1: by its class, times what is given.

    Raises PluginError where none counts.
    """
    power = {"none": 0.0, "sqrt": -0.5, "full": -1.0}[balance]
    weights = torch.bincount(labels).double()[labels] ** power
    if given is not None:
        weights *= torch.tensor(given)
    if not weights.any():
        raise PluginError("All images that are to be trained on have the weight 0.")
    return (weights / weights.mean()).float()


def loss_function(
    network: nn.Module, input_: PixelInput, *, device: torch.device, smoothing: float, autocast: bool
) -> Loss:
    """Augmentation, standardising, network and loss in one function, so that they compile into one."""
    mean, std = torch.tensor(input_.mean, device=device), torch.tensor(input_.std, device=device)

    def loss(batch: Batch) -> Tensor:
        pixels = move(batch.pixels, batch.codes, batch.shifts)
        standard = (pixels.float() - 255 * mean) / (255 * std)
        # (b, s, s, c) seen as (b, c, s, s) is channels_last without a copy.
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            logits = network(standard.permute(0, 3, 1, 2), batch.sizes)
        each = functional.cross_entropy(
            logits.float(), batch.labels, reduction="none", label_smoothing=smoothing
        )
        return (each * batch.weights).mean()

    return loss


def compiled(plain: Loss, trial: Batch, *, required: bool) -> Loss | None:
    """`plain` compiled, or None where `torch.compile` fails.

    `trial` has the shapes of a run's batches, and like them no tensor twice: others would mean compiling again. Raises
    PluginError where it fails although it is `required`.
    """
    try:
        import torch._inductor

        # Kernels must not be chosen by timing them: the same job shall give the same votes in another process.
        # PyTorch 2.9 has no such switch.
        chosen: dict[str, Any] | None = (
            {"deterministic": True} if "deterministic" in torch._inductor.list_options() else None
        )
        faster: Loss = torch.compile(plain, dynamic=False, options=chosen)
        faster(trial).backward()  # type: ignore[no-untyped-call]  # it compiles when it is first called
    except Exception as error:  # of dynamo, inductor, triton, or a C compiler that is not there
        if is_out_of_memory(error):
            return faster  # the training halves the batch, and then compiles
        cause = getattr(error, "inner_exception", error)  # dynamo says only which backend failed
        reason = str(cause).partition("\n")[0] or type(cause).__name__
        if required:
            raise PluginError(f"torch.compile fails: {reason}", hint="Set compile=off.") from error
        log.warning("torch.compile fails, training goes on without it: %s", reason)
        return None
    return faster
