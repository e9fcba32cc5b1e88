"""The networks: a compact one of ours for small images, EfficientNet-Lite0, and torchvision's classifiers.

All are a trunk from pixels to features; `Classifier` adds the image's size and a linear head.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dupekit.api import OptionError
from dupekit_nets import lite0, pretrained
from dupekit_nets.lite0 import LITE0
from dupekit_nets.pretrained import TORCHVISION
from dupekit_torch.network.compact import Compact
from dupekit_torch.network.lite0 import Lite0
from dupekit_torch.options import COMPACT
from dupekit_torch.pixels.statistics import Moments

_RANDOM = threading.Lock()
"""Held while a network draws its weights: the random state is the process's, and runs go on side by side."""

SIZE_FEATURES = 16
"""How many features the image's width and height become before they join those of the pixels."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spec:
    """All that a network is made from, but for its random numbers."""

    model: str
    size_px: int
    channels: int
    classes: int
    log_size: Moments | None = None
    """Of the pool's log widths and heights; None where the size is not fed to the network."""
    pretrained: bool = False
    """Of EfficientNet-Lite0 and torchvision's networks."""
    train_from: int = 0
    """The first block of EfficientNet-Lite0 that is trained. The rest is of the compact network."""
    width: int = 32
    stem: Tensor | None = None
    """Its first filters, (channels', channels, side, side) float32."""


class Classifier(nn.Module):
    """Logits from standardised pixels (n, channels, s, s) and, if used, log sizes (n, 2); all float32."""

    log_mean: Tensor
    log_std: Tensor

    def __init__(self, trunk: nn.Module, features: int, spec: Spec) -> None:
        super().__init__()
        self.trunk = trunk
        self.uses_size = spec.log_size is not None
        if spec.log_size is not None:
            self.register_buffer("log_mean", torch.tensor(spec.log_size.mean))
            self.register_buffer("log_std", torch.tensor(spec.log_size.std))
            self.size = nn.Linear(2, SIZE_FEATURES)
            features += SIZE_FEATURES
        self.head = nn.Linear(features, spec.classes)

    @property
    def beginning_anew(self) -> list[nn.Module]:
        """The layers that no pretrained weights are for."""
        return [self.head, self.size] if self.uses_size else [self.head]

    def forward(self, pixels: Tensor, log_size: Tensor | None = None) -> Tensor:
        return self._classify(self.trunk(pixels), log_size)

    def from_maps(self, maps: Tensor, log_size: Tensor | None = None) -> Tensor:
        """Logits from what the frozen part of the trunk made of pixels."""
        assert isinstance(self.trunk, Lite0)
        return self._classify(self.trunk.rest(maps), log_size)

    def _classify(self, features: Tensor, log_size: Tensor | None) -> Tensor:
        if self.uses_size:
            assert log_size is not None
            standard = (log_size - self.log_mean) / self.log_std
            features = torch.cat([features, functional.relu(self.size(standard))], 1)
        logits: Tensor = self.head(features)
        return logits


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
        if spec.model == LITE0:
            return Classifier(_lite0(spec), lite0.FEATURES, spec)
        trunk, features = _torchvision(spec)
        return Classifier(trunk, features, spec)


def draws(network: nn.Module) -> bool:
    """Whether training it draws random numbers, as dropout and stochastic depth do."""
    return any(re.search("drop|stochastic", type(part).__name__, re.IGNORECASE) for part in network.modules())


def _lite0(spec: Spec) -> Lite0:
    network = Lite0(size_px=spec.size_px, train_from=spec.train_from)
    if spec.pretrained:
        weights = {name: torch.from_numpy(value) for name, value in lite0.load_weights().items()}
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network


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
