"""What the pool's pixels and sizes are like, so that networks can be made for them.

Everything here depends on the pool alone, all images of the round without their labels, so that it is
the same for every run of a round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dupekit.api import Cache, Images, PixelInput, Rows

GREY_SAMPLE = 64
"""So many images, evenly spaced over the pool, decide whether the data are grey."""

GREY_TOLERANCE = 8
"""Levels of 255 by which the channels of a grey image may differ: JPEG's rounding, not a colour."""

STATISTICS_SAMPLE = 4096
"""So many images, evenly spaced over the pool, give mean and standard deviation."""

STEM_SAMPLE = 1024
"""So many images, evenly spaced over the pool, decide which filters whiten their patches."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What values are standardised with, one each a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_grey(pool: Images, cache: Cache) -> bool:
    """Whether a sample of the pool shows no colour, also where it is stored as RGB."""
    some = pool.take(_evenly(len(pool), GREY_SAMPLE))
    squares = cache.decode(some, size_px=64, channels=3)
    return all(int(np.ptp(part.astype(np.int16), axis=3).max()) <= GREY_TOLERANCE for part in squares)


def typical_size(pool: Images, *, low: int, high: int) -> int:
    """The median of the images' longer sides, rounded to a multiple of 8, within bounds; pixels."""
    median = float(np.median(pool.sizes.max(axis=1)))
    return int(np.clip(round(median / 8) * 8, low, high))


def pixel_moments(rows: Rows) -> Moments:
    """Of pixels / 255, over a sample of the rows."""
    sample = rows[_evenly(len(rows), STATISTICS_SAMPLE)]
    channels = sample.shape[3]
    # Whole numbers: exact, whatever the order of summing.
    counts = np.stack([np.bincount(sample[..., c].ravel(), minlength=256) for c in range(channels)])
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    std = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    return Moments(tuple(mean.tolist()), tuple(np.maximum(std, 0.01).tolist()))


def size_moments(pool: Images) -> Moments:
    """Of the logarithms of width and height."""
    sizes = pool.log_sizes().astype(np.float64)
    return Moments(tuple(sizes.mean(0).tolist()), tuple(np.maximum(sizes.std(0), 0.05).tolist()))


def standardised(pixels: NDArray[Any], input_: PixelInput) -> Tensor:
    """Pixels (n, s, s, channels) uint8 as a network reads them: (n, channels, s, s) float32."""
    standard = (pixels / 255 - np.array(input_.mean)) / np.array(input_.std)
    return torch.from_numpy(standard.astype(np.float32)).permute(0, 3, 1, 2)


def standardised_sample(rows: Rows, input_: PixelInput) -> Iterator[Tensor]:
    """A sample of the rows as a network reads them, one by one: (channels, s, s) float32."""
    for at in _evenly(len(rows), STEM_SAMPLE):
        yield standardised(rows[[int(at)]], input_)[0]


def _evenly(count: int, sample: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, sample)).round().astype(np.int64))
