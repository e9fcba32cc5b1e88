"""The loss of a batch, from stored pixels to a number, and its compiling."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dupekit.api import PixelInput, PluginError
from dupekit_torch.device import is_out_of_memory
from dupekit_torch.network.classifier import Classifier
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


Logits = Callable[[Batch], Tensor]
"""Of a batch, (b, classes)."""


def loss_function(
    logits_of: Logits, *, device: torch.device, smoothing: float, autocast: bool, trust: float = 0.0
) -> Loss:
    """Augmentation, standardising, network and loss in one function, so that they compile into one.

    With `trust` q an image counts by p(given label)^q, as the network sees it now, in parts of the batch's mean: the
    gradient is that of generalised cross entropy (Z. Zhang and M. Sabuncu, NeurIPS 2018), at an even pace.
    """

    def loss(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            logits = logits_of(batch)
        logits = logits.float()
        each = functional.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=smoothing)
        weights = batch.weights
        if trust:
            given = logits.detach().softmax(1).gather(1, batch.labels[:, None])[:, 0] ** trust
            weights = weights * given / given.mean()
        return (each * weights).mean()

    return loss


def from_pixels(network: nn.Module, input_: PixelInput, device: torch.device) -> Logits:
    """Of batches of pixels."""
    mean, std = torch.tensor(input_.mean, device=device), torch.tensor(input_.std, device=device)

    def logits(batch: Batch) -> Tensor:
        pixels = move(batch.pixels, batch.codes, batch.shifts)
        standard = (pixels.float() - 255 * mean) / (255 * std)
        # (b, s, s, c) seen as (b, c, s, s) is channels_last without a copy.
        made: Tensor = network(standard.permute(0, 3, 1, 2), batch.sizes)
        return made

    return logits


def from_maps(network: Classifier, codes: Sequence[int], device: torch.device) -> Logits:
    """Of batches of maps, which hold a view for each of the symmetries `codes`."""
    view_of = torch.tensor([codes.index(code) if code in codes else 0 for code in range(8)], device=device)

    def logits(batch: Batch) -> Tensor:
        maps = batch.pixels[torch.arange(len(batch.codes), device=device), view_of[batch.codes]]
        return network.from_maps(maps.float().permute(0, 3, 1, 2), batch.sizes)

    return logits


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
