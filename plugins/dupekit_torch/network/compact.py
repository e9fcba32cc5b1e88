"""Our network for small images."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from dupekit_torch.network.stem import stem_shape


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
        x = self.stages(functional.relu(self.stem(pixels)))
        # Not amax: its gradient goes where a value equals the greatest one, and PyTorch's compiler computes the values anew
        # without rounding them to bfloat16 as the greatest one was. Then none is equal, and the gradient is 0 / 0.
        features: Tensor = functional.max_pool2d(x, x.shape[2:]).flatten(1)
        return features
