"""Which pixels a model sees, and how they reach the device.

Everything here depends on the pool alone, all images of the round without their labels, so that it is
the same for every run of a round and is made once per worker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dupekit.api import Cache, Images, PixelInput, Rows, in_order

log = logging.getLogger("dupekit.torch")

GREY_SAMPLE = 64
"""So many images, evenly spaced over the pool, decide whether the data are grey."""

GREY_TOLERANCE = 8
"""Levels of 255 by which the channels of a grey image may differ: JPEG's rounding, not a colour."""

STATISTICS_SAMPLE = 4096
"""So many images, evenly spaced over the pool, give mean and standard deviation."""

STEM_SAMPLE = 1024
"""So many images, evenly spaced over the pool, decide which filters whiten their patches."""

RESIDENT_SHARE = {"cuda": 0.4, "cpu": 0.1}
"""Of all of the device's memory that pixels may take; the rest is for the network's activations, and on
the CPU for other workers. Of all, not of what is free: what is drawn at random differs between the two
sources on CUDA, and the same job must give the same model whatever else runs."""


def is_grey(pool: Images, cache: Cache) -> bool:
    """Whether a sample of the pool shows no colour, also where it is stored as RGB."""
    some = pool.take(_evenly(len(pool), GREY_SAMPLE))
    squares = cache.decode(some, size_px=64, channels=3)
    return all(int(np.ptp(part.astype(np.int16), axis=3).max()) <= GREY_TOLERANCE for part in squares)


def typical_size(pool: Images, *, low: int, high: int) -> int:
    """The median of the images' longer sides, rounded to a multiple of 8, within bounds; pixels."""
    median = float(np.median(pool.sizes.max(axis=1)))
    return int(np.clip(round(median / 8) * 8, low, high))


def mean_and_std(rows: Rows) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, of pixels / 255, over a sample of the rows."""
    sample = rows[_evenly(len(rows), STATISTICS_SAMPLE)]
    channels = sample.shape[3]
    # Whole numbers: exact, whatever the order of summing.
    counts = np.stack([np.bincount(sample[..., c].ravel(), minlength=256) for c in range(channels)])
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    std = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    return tuple(mean.tolist()), tuple(np.maximum(std, 0.01).tolist())


def standardised_sample(rows: Rows, input_: PixelInput) -> Iterator[Tensor]:
    """A sample of the rows as a network sees them, one by one: (channels, s, s) float32."""
    mean, std = np.array(input_.mean), np.array(input_.std)
    for at in _evenly(len(rows), STEM_SAMPLE):
        pixels = (rows[[int(at)]][0] / 255 - mean) / std
        yield torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)


class Source(Protocol):
    """Gives batches of the pool's pixels on the device."""

    index_device: torch.device
    """Where the rows that it is asked for must lie."""

    def batches(self, drawn: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        """The same tuples, but for their first tensors: instead of rows (b,) int64 the pixels (b, s, s, channels),
        uint8, on the device."""
        ...


class Resident:
    """The whole pool as one tensor on the device; a batch is one gather there."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.index_device = device
        self._pixels = torch.empty(rows.shape, dtype=torch.uint8, device=device)
        start = 0
        for chunk in rows.batches(4096):  # never a second copy of all of it in memory
            self._pixels[start : start + len(chunk)].copy_(torch.from_numpy(chunk))
            start += len(chunk)

    def batches(self, drawn: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        for rows, *beside in drawn:
            yield self._pixels[rows], *beside


class Streamed:
    """Batches read from the cache while the device is busy with the batch before, pinned for CUDA."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.index_device = torch.device("cpu")
        self._rows = rows
        self._device = device

    def batches(self, drawn: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        with ThreadPoolExecutor(1) as reader:
            for pixels, *beside in in_order(reader, self._read, drawn, ahead=2):
                yield pixels.to(self._device, non_blocking=True), *beside

    def _read(self, drawn: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        rows, *beside = drawn
        pixels = torch.from_numpy(self._rows[rows.numpy()])
        return pixels.pin_memory() if self._device.type == "cuda" else pixels, *beside


def source(rows: Rows, device: torch.device, choice: str) -> Resident | Streamed:
    """Pixels held on the device where they fit or are wanted there ("resident"), else batch by batch."""
    size = int(np.prod(rows.shape))
    fits = size <= RESIDENT_SHARE[device.type] * _memory_bytes(device)
    if choice == "stream" or (choice == "auto" and not fits):
        return Streamed(rows, device)
    try:
        return Resident(rows, device)
    except torch.OutOfMemoryError:
        log.warning("%d MiB of pixels do not fit beside what the device holds: they are streamed", size >> 20)
        return Streamed(rows, device)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows: the cache's memory map does as well
        return 0


def _evenly(count: int, sample: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, sample)).round().astype(np.int64))
