"""The loss of a batch, from stored pixels to a number, and its compiling."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dupekit.api import PluginError
from dupekit_torch.augment import move
from dupekit_torch.memory import is_out_of_memory

log = logging.getLogger("dupekit.torch")

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Mean loss of a batch: pixels (b, s, s, c) uint8, symmetry codes (b,), shifts (b, 2), log sizes (b, 2),
labels (b,) int64, weights (b,) float32."""


def class_weights(labels: Tensor, classes: int, balance: str) -> Tensor:
    """The weight of each image in the loss, shape (n,), of mean 1; absent classes need none."""
    counts = torch.bincount(labels, minlength=classes).double()
    power = {"none": 0.0, "sqrt": -0.5, "full": -1.0}[balance]
    weights = counts[labels] ** power
    return (weights / weights.mean()).float()


def loss_function(model: nn.Module, *, mean: Tensor, std: Tensor, smoothing: float, autocast: bool) -> Loss:
    """Augmentation, standardising, network and loss in one function, so that they compile into one."""

    def loss(
        pixels: Tensor,
        codes: Tensor,
        shifts: Tensor,
        sizes: Tensor,
        labels: Tensor,
        weights: Tensor,
    ) -> Tensor:
        pixels = move(pixels, codes, shifts)
        standard = (pixels.float() - 255 * mean) / (255 * std)
        # (b, s, s, c) seen as (b, c, s, s) is channels_last without a copy.
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=autocast):
            logits = model(standard.permute(0, 3, 1, 2), sizes)
        each = functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
        return (each * weights).mean()

    return loss


def compiled(plain: Loss, trial: tuple[Tensor, ...], *, required: bool) -> tuple[Loss, bool]:
    """`plain` compiled, and True; or as it is, and False, where `torch.compile` fails.

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
        faster(*trial).backward()  # type: ignore[no-untyped-call]  # it compiles when it is first called
    except Exception as error:  # of dynamo, inductor, triton, or a C compiler that is not there
        if is_out_of_memory(error):
            return faster, True  # the training halves the batch, and then compiles
        cause = getattr(error, "inner_exception", error)  # dynamo says only which backend failed
        reason = str(cause).partition("\n")[0] or type(cause).__name__
        if required:
            raise PluginError(f"torch.compile fails: {reason}", hint="Set compile=off.") from error
        log.warning("torch.compile fails, training goes on without it: %s", reason)
        return plain, False
    return faster, True
