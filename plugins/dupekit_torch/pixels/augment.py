"""Mirrors, turns and shifts whole batches on the device.

A batch is moved by one gather, with an index made from a row and a column coordinate an image, so that a symmetry and a
shift together cost one pass over the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dupekit_torch.pixels.symmetries import MIRROR_X, MIRROR_Y, SWAP


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may be done to an image. `codes` are the allowed symmetries."""

    codes: tuple[int, ...]
    shift_px: int = 0


class Moves:
    """Which symmetry and shift each image of one run gets at each visit.

    An image begins with a random symmetry and then goes through all of them in a random direction before
    any comes again: over few epochs that shows the network more than independent draws, which repeat
    themselves (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, for mirrored images).
    """

    def __init__(self, augmentation: Augmentation, images: int, generator: torch.Generator) -> None:
        self._augmentation = augmentation
        self._generator = generator
        self._codes = torch.tensor(augmentation.codes, device=generator.device)
        count = len(augmentation.codes)  # 1, 2, 4 or 8: every odd stride visits all

        def draw(high: int) -> Tensor:
            return torch.randint(high, (images,), generator=generator, device=generator.device)

        self._start, self._stride = draw(count), 2 * draw(count) + 1

    def draw(self, images: Tensor, visit: int) -> tuple[Tensor, Tensor]:
        """For these images (k,) at their showing number `visit`: symmetry codes (k,) and shifts (k, 2), int64."""
        turn = (self._start[images] + visit * self._stride[images]) % len(self._codes)
        limit = self._augmentation.shift_px
        device = self._generator.device
        if limit == 0:
            return self._codes[turn], torch.zeros(len(images), 2, dtype=torch.int64, device=device)
        return self._codes[turn], torch.randint(
            -limit, limit + 1, (len(images), 2), generator=self._generator, device=device
        )


def move(images: Tensor, codes: Tensor, shifts: Tensor) -> Tensor:
    """Applies a symmetry and a shift to each image; what is shifted in repeats the border.

    `images` (b, s, s, c) of any dtype, `codes` (b,) and `shifts` (b, 2) int64 on the same device.
    """
    count, size, _, channels = images.shape
    line = torch.arange(size, device=images.device)
    # Where in the original the new image's row and column are read from.
    y = (line + shifts[:, :1]).clamp(0, size - 1)
    x = (line + shifts[:, 1:]).clamp(0, size - 1)
    y = torch.where((codes & MIRROR_Y).bool()[:, None], size - 1 - y, y)
    x = torch.where((codes & MIRROR_X).bool()[:, None], size - 1 - x, x)
    swap = (codes & SWAP).bool()[:, None]
    y_step, x_step = torch.where(swap, 1, size), torch.where(swap, size, 1)
    index = ((y * y_step)[:, :, None] + (x * x_step)[:, None, :]).reshape(count, size * size, 1)
    flat = images.reshape(count, size * size, channels)
    return flat.gather(1, index.expand(-1, -1, channels)).reshape(images.shape)


def views(pixels: Tensor, codes: Sequence[int]) -> Tensor:
    """Whole batches under some symmetries, one after the other: (n, c, s, s) -> (len(codes) * n, c, s, s)."""
    return torch.cat([_view(pixels, code) for code in codes])


def _view(pixels: Tensor, code: int) -> Tensor:
    turned = pixels.transpose(2, 3) if code & SWAP else pixels
    mirrored = [axis for axis, bit in ((3, MIRROR_X), (2, MIRROR_Y)) if code & bit]
    return turned.flip(mirrored) if mirrored else turned
