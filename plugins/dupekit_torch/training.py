"""One training: the schedule and the steps.

Everything is fixed before the first step. There is no validation, no early stop and no choice of a best
epoch: such a choice would have to look at labels, and the labels of the held-out half are what is judged.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dupekit.api import Progress
from dupekit.errors import PluginError
from dupekit_torch.augment import Augmentation, Moves, move
from dupekit_torch.batches import Data, batched, epochs
from dupekit_torch.muon import Muon
from dupekit_torch.options import COMPACT, Options

log = logging.getLogger("dupekit.torch")

WARM_UP = 0.2
"""Share of the steps in which the learning rate rises; it falls by a half cosine in the rest."""

LEARNING_RATE = 8e-3
"""At the top, for batches of 32, of the compact network. On 1,331 plankton images, 15 epochs, rates from 4e-3 to 1.2e-2
gave the same accuracy within a point."""

MOST_GROWTH = 2.5
"""Rates grow with the batch's square root, as the noise of gradients does, up to this."""

SCRATCH_RATE, TUNING_RATE = 4e-3, 5e-4
"""The same for torchvision's networks, of which AdamW moves more: from scratch, and from pretrained weights. Neither was
measured; the second is as is usual, and no weights were at hand."""

FEWEST_EPOCHS, MOST_EPOCHS = 12, 200
LOOKS, STEPS = 30_000, 400
"""Few images are shown until so many have been looked at and so many steps done. On 1,331 plankton images, in batches of
32, 8, 15, 23 and 45 epochs (11, 20, 31 and 60 thousand looks) gave accuracies of .721, .767, .799 and .803. Batches of 64
gave the same accuracy, and half as many steps of Muon."""

FEW = 640
"""Of fewer images batches have 32: those of 64 were measured on 1,331 only, and give very few images too few steps."""

KEPT_SHARE = 0.25
"""Of a GPU's memory that PyTorch may keep, unused, after a training: taking it anew costs time."""

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Mean loss of a batch: pixels (b, s, s, c) uint8, symmetry codes (b,), shifts (b, 2), log sizes (b, 2),
labels (b,) int64, weights (b,) float32."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before a training of `images` images."""

    images: int
    epochs: int
    batch: int
    steps: int
    learning_rate: float
    muon: bool
    """Whether Muon moves the filters of convolutions, or AdamW moves all."""


def plan(images: int, options: Options, *, pool: int) -> Plan:
    """Epochs, batch and learning rate by the number of images in the round, unless they are given.

    Few images get more epochs and smaller batches, so that a network has steps enough to learn. The round's number
    counts, of which a run sees half: two halves that differ by an image shall not be trained differently.
    """
    half = max(1, pool / 2)
    least = 64 if half >= FEW else 32
    batch = options.batch_size or min(512, max(least, 2 ** round(math.log2(half / 100))))
    enough = max(round(LOOKS / half), math.ceil(STEPS * batch / half))
    epochs = options.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, enough))
    rate = options.learning_rate or _top_rate(options) * min(MOST_GROWTH, math.sqrt(batch / 32))
    steps = max(1, math.ceil(epochs * images / batch))
    return Plan(images, epochs, batch, steps, rate, muon=not options.pretrained)


def _top_rate(options: Options) -> float:
    if options.pretrained:
        return TUNING_RATE
    return LEARNING_RATE if options.model == COMPACT else SCRATCH_RATE


def one_cycle(step: int, steps: int) -> float:
    """The learning rate as a share of its peak: up in a line, down in a half cosine, never quite 0."""
    at = (step + 0.5) / steps
    if at < WARM_UP:
        return at / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (at - WARM_UP) / (1 - WARM_UP))


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


class Descent:
    """Muon on the filters of convolutions, AdamW on all else; no decay on biases and normalisations.

    Filters of grouped convolutions, which are not one matrix, are AdamW's; without `muon` all are. On 1,331 plankton images,
    15 epochs on a CPU, the compact network had an accuracy of .725 with AdamW alone (n = 2) and .76 with Muon (n = 4), in 1.1 times the time.

    Weights of convolutions lie as channels_last, and PyTorch's fused step on a CPU copies whatever is not contiguous, at
    every step: both are given views that are (1.6 instead of 2.6 ms a step, for 1.2 million weights under AdamW).
    """

    def __init__(self, model: nn.Module, *, learning_rate: float, weight_decay: float, muon: bool) -> None:
        filters = {
            part.weight for part in model.modules() if isinstance(part, nn.Conv2d) and part.groups == 1
        }
        # `view` raises for filters that do not lie as channels_last.
        self._pairs = [
            (p, _in_memory_order(p.detach()).view(len(p), -1)) for p in model.parameters() if p.requires_grad
        ]
        groups: dict[str, list[Tensor]] = {"matrices": [], "decayed": [], "others": []}
        for parameter, view in self._pairs:
            if muon and parameter in filters:
                groups["matrices"].append(view)
            else:
                groups["decayed" if parameter.ndim > 1 else "others"].append(view)
        self._muon = Muon(groups["matrices"], weight_decay=weight_decay)
        self._adam = torch.optim.AdamW(
            [
                {"params": groups["decayed"], "weight_decay": weight_decay},
                {"params": groups["others"], "weight_decay": 0.0},
            ],
            lr=learning_rate,
            fused=True,
        )

    def step(self, learning_rate: float) -> None:
        """One step down the gradients, which are then forgotten."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        for parameter, view in self._pairs:
            if parameter.grad is not None:
                view.grad = _in_memory_order(parameter.grad).reshape(view.shape)
                parameter.grad = None
        self._adam.step()
        self._muon.step(learning_rate)
        for _, view in self._pairs:
            view.grad = None


def _in_memory_order(tensor: Tensor) -> Tensor:
    """Filters (out, in, h, w), which lie as channels_last, as (out, h, w, in); others as they are."""
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went."""

    loss: float
    """Mean over the last epoch."""
    seconds: float
    parts: int
    """In so many parts a batch went through the network: one, unless memory did not suffice."""


def fit(
    model: nn.Module,
    loss: Loss,
    data: Data,
    plan: Plan,
    *,
    augmentation: Augmentation,
    weight_decay: float,
    seed: int,
    reset: Callable[[], None],
    progress: Progress,
    device: torch.device,
    parts: int = 1,
    draws: bool = False,
) -> Fitted:
    """Trains the model in place from what `reset` makes it.

    `draws` says that the network itself draws random numbers: the process's random state is then set to
    `seed`, so that no other training may go on beside it.

    Where memory does not suffice, the run begins again with batches in twice as many parts: their gradients
    are added up, so that batch and schedule stay, and the result is the same as if it had
    begun so. Only batch normalisation then sees smaller groups. Raises PluginError where two images at
    once are too many.
    """
    began = time.monotonic()
    while True:
        reset()
        model.zero_grad(set_to_none=True)
        run = _Run(model, loss, data, plan, augmentation, seed, parts, device)
        try:
            with seeded(device, seed) if draws else contextlib.nullcontext():
                mean_loss = run.steps(weight_decay, progress)
            return Fitted(mean_loss, time.monotonic() - began, parts)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        parts *= 2
        if plan.batch // parts < 2:  # batch normalisation has nothing to normalise by in one image
            raise PluginError(
                "Not enough memory to train on two images at once.",
                hint="Choose a smaller image_size or model, or free the device's memory.",
            )
        log.warning(
            "out of memory: the run begins again with %d images at once", math.ceil(plan.batch / parts)
        )
        if device.type == "cuda":
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()


_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory"  # the CPU's allocator
    r"|CUDA error: out of memory|CU(BLAS|DNN)_STATUS_\w*ALLOC(ATION)?_FAILED"  # what is not PyTorch's own allocator
)


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch's allocator on CUDA raises OutOfMemoryError, all else a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


class _Run:
    """The steps of one training, with batches in so many parts."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        plan: Plan,
        augmentation: Augmentation,
        seed: int,
        parts: int,
        device: torch.device,
    ) -> None:
        self.model, self.loss, self.plan = model, loss, plan
        self.parts, self.device = parts, device
        generator = torch.Generator(data.source.index_device).manual_seed(seed)
        moves = Moves(augmentation, plan.images, generator)
        drawn = batched(epochs(data, moves, generator, device), plan.batch)
        self._batches = data.source.batches(islice(drawn, plan.steps))

    def steps(self, weight_decay: float, progress: Progress) -> float:
        """Does them all; returns the mean loss of the last epoch."""
        plan = self.plan
        descent = Descent(
            self.model, learning_rate=plan.learning_rate, weight_decay=weight_decay, muon=plan.muon
        )
        self.model.train()
        losses: deque[Tensor] = deque(maxlen=max(1, math.ceil(plan.images / plan.batch)))
        meter = _Meter(plan, progress, self.device)
        for step, inputs in enumerate(self._batches):
            losses.append(self._gradients(inputs))
            descent.step(plan.learning_rate * one_cycle(step, plan.steps))
            meter.show(step + 1, losses[-1])
        return float(torch.stack(tuple(losses)).mean())

    def _gradients(self, inputs: tuple[Tensor, ...]) -> Tensor:
        if self.parts == 1:
            loss = self.loss(*inputs)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        total = torch.zeros((), device=self.device)
        for some in zip(*(part.tensor_split(self.parts) for part in inputs), strict=True):
            loss = self.loss(*some) * (len(some[0]) / self.plan.batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total


class _Meter:
    """Tells the progress about once a second; reading a loss waits for the device, so no oftener."""

    def __init__(self, plan: Plan, progress: Progress, device: torch.device) -> None:
        self._plan, self._progress, self._device = plan, progress, device
        self._began = self._last = time.monotonic()
        progress("training", 0, plan.images * plan.epochs)

    def show(self, step: int, loss: Tensor) -> None:
        if time.monotonic() < self._last + 1 and step < self._plan.steps:
            return
        figures = {"loss": float(loss)}
        if not math.isfinite(figures["loss"]):
            raise PluginError(
                f"The training diverged: its loss is {figures['loss']} after {step} steps.",
                hint="Choose a lower learning_rate, or precision=float32.",
            )
        figures["memory_mib"] = peak_memory_mib(self._device)
        self._last = time.monotonic()
        seen = step * self._plan.batch
        figures["images_per_second"] = seen / max(1e-9, self._last - self._began)
        total = self._plan.images * self._plan.epochs
        self._progress("training", min(seen, total), total, **figures)


def peak_memory_mib(device: torch.device) -> float:
    """The most that tensors have taken on a GPU; on the CPU the most that this process has."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def give_back_memory(device: torch.device) -> None:
    """Frees what PyTorch only keeps for later on a GPU, where that is much: the validator has an allocator of its own."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if kept > KEPT_SHARE * torch.cuda.mem_get_info(device)[1]:
            torch.cuda.empty_cache()


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Keeps cuDNN from choosing algorithms by timing them, which differs from process to process."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds what has no generator of its own, dropout; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
