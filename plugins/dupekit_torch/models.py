"""The networks: a compact one of ours for small images, and torchvision's classifiers.

Both are a trunk from pixels to features; `Classifier` adds the image's size and a linear head.
"""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dupekit.api import OptionError
from dupekit_nets import pretrained
from dupekit_nets.pretrained import TORCHVISION
from dupekit_torch.options import COMPACT

_RANDOM = threading.Lock()
"""Held while a network draws its weights: the random state is the process's, and runs go on side by side."""

SIZE_FEATURES = 16
"""How many features the image's width and height become before they join those of the pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """All that a network is made from, but for its random numbers."""

    model: str
    pretrained: bool
    width: int
    size_px: int
    channels: int
    classes: int
    log_mean: tuple[float, float] | None
    """Mean of log width and log height over the pool, None where the size is not fed to the model."""
    log_std: tuple[float, float] | None
    stem: Tensor | None
    """The compact network's first filters, (channels', channels, side, side) float32."""


class Classifier(nn.Module):
    """Logits from standardised pixels (n, channels, s, s) and, if used, log sizes (n, 2); all float32."""

    log_mean: Tensor
    log_std: Tensor

    def __init__(self, trunk: nn.Module, features: int, spec: Spec) -> None:
        super().__init__()
        self.trunk = trunk
        self.uses_size = spec.log_mean is not None and spec.log_std is not None
        if self.uses_size:
            self.register_buffer("log_mean", torch.tensor(spec.log_mean))
            self.register_buffer("log_std", torch.tensor(spec.log_std))
            self.size = nn.Linear(2, SIZE_FEATURES)
            features += SIZE_FEATURES
        self.head = nn.Linear(features, spec.classes)

    def forward(self, pixels: Tensor, log_size: Tensor | None = None) -> Tensor:
        features = self.trunk(pixels)
        if self.uses_size:
            assert log_size is not None
            standard = (log_size - self.log_mean) / self.log_std
            features = torch.cat([features, functional.relu(self.size(standard))], 1)
        logits: Tensor = self.head(features)
        return logits


class Stage(nn.Module):
    """Two 3 x 3 convolutions; of what the first gives, each square of four pixels keeps its greatest value."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        # The squares do not overlap: each gradient comes from one place, so its sum has no order on CUDA.
        x = functional.relu(self.norm1(functional.max_pool2d(self.conv1(x), 2)))
        return functional.relu(self.norm2(self.conv2(x)))


def stem_shape(size_px: int) -> tuple[int, int]:
    """Side and stride of the compact network's first filters.

    Above 40 pixels they halve the image: the first stage is most of the cost, and cut-outs of that size are mostly
    blown-up detail.
    """
    return (3, 2) if size_px > 40 else (2, 1)


class Compact(nn.Module):
    """A network for images of 16 to about 100 pixels: fixed filters that whiten patches, and three stages.

    The shape is that of K. Jordan's airbench ("94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024). On 1,331 plankton
    images, 15 epochs with AdamW, and with first filters that are trained, it reached .725 where a residual network of four
    stages that took longer reached .670; a shortcut around each second convolution gained nothing, nor did a mean instead of
    the maximum at the end.
    """

    def __init__(self, *, width: int, size_px: int, stem: Tensor) -> None:
        super().__init__()
        side, stride = stem_shape(size_px)
        outputs, inputs = stem.shape[:2]
        self.stem = nn.Conv2d(inputs, outputs, side, stride, side // 3)
        widths = [outputs, width, 4 * width, 4 * width]
        self.stages = nn.Sequential(*(Stage(a, b) for a, b in itertools.pairwise(widths)))
        self.features = widths[-1]
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        with torch.no_grad():
            self.stem.weight.copy_(stem)
            self.stem.bias.zero_()  # type: ignore[union-attr]
        self.stem.weight.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = functional.relu(self.stem(pixels))
        features: Tensor = self.stages(x).amax((2, 3))
        return features


class ThreeChannels(nn.Module):
    """Shows one grey channel to a network that expects three."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.network(pixels.expand(-1, 3, -1, -1))
        return features


def build(spec: Spec, *, seed: int) -> Classifier:
    """A network on the CPU, its random parameters drawn from `seed`; the caller's random state is kept.

    Raises OptionError for an unknown model or an image size that it does not take, PluginError where
    pretrained weights are not at hand.
    """
    with _RANDOM, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds every GPU as well
        if spec.model == COMPACT:
            assert spec.stem is not None
            compact = Compact(width=spec.width, size_px=spec.size_px, stem=spec.stem)
            return Classifier(compact, compact.features, spec)
        trunk, features = _torchvision(spec)
        return Classifier(trunk, features, spec)


def draws(network: nn.Module) -> bool:
    """Whether training it draws random numbers, as dropout and stochastic depth do."""
    return any(re.search("drop|stochastic", type(part).__name__, re.IGNORECASE) for part in network.modules())


def _torchvision(spec: Spec) -> tuple[nn.Module, int]:
    """A torchvision classifier without its last layer, and the number of features that it gives."""
    trunk = pretrained.trunk(spec.model.removeprefix(TORCHVISION), pretrained=spec.pretrained)
    if spec.channels == 1:
        trunk = ThreeChannels(trunk)
    return trunk, _count_features(trunk, spec)


def _count_features(trunk: nn.Module, spec: Spec) -> int:
    trunk.eval()
    try:
        with torch.no_grad():
            shape = trunk(torch.zeros(2, spec.channels, spec.size_px, spec.size_px)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        raise OptionError(
            f"{spec.model} does not take images of {spec.size_px} pixels: {str(error).splitlines()[0]}",
            hint="Set image_size to what it was made for, such as image_size=224.",
        ) from error
    trunk.train()
    return int(shape[1])
