"""Where batches get their pixels from: the device's own memory, or the cache."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dupekit.api import Rows, in_order
from dupekit_torch.device import memory_bytes

log = logging.getLogger("dupekit.torch")

RESIDENT_SHARE = {"cuda": 0.4, "cpu": 0.1}
"""Of all of the device's memory that pixels may take; the rest is for the network's activations, and on
the CPU for other workers. Of all, not of what is free: what is drawn at random differs between the two
sources on CUDA, and the same job must give the same model whatever else runs."""


class Source(Protocol):
    """Gives the pool's pixels on the device, (b, s, s, channels) uint8, or what a frozen part of the network made of them."""

    device: torch.device
    index_device: torch.device
    """Where the rows that it is asked for must lie."""

    def pixels(self, rows: Tensor) -> Tensor:
        """Of these rows of the pool, (b,) int64."""
        ...

    def batches(self, drawn: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        """The same columns, but for the first of each: pixels instead of rows."""
        ...


class Resident:
    """The whole pool as one tensor on the device; a batch is one gather there."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.device = self.index_device = device
        self._pixels = torch.empty(rows.shape, dtype=torch.from_numpy(rows[:1]).dtype, device=device)
        start = 0
        for chunk in rows.batches(4096):  # never a second copy of all of it in memory
            self._pixels[start : start + len(chunk)].copy_(torch.from_numpy(chunk))
            start += len(chunk)

    def pixels(self, rows: Tensor) -> Tensor:
        return self._pixels[rows]

    def batches(self, drawn: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        for rows, *beside in drawn:
            yield self._pixels[rows], *beside


class Streamed:
    """Batches read from the cache while the device is busy with the batch before, pinned for CUDA."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.device, self.index_device = device, torch.device("cpu")
        self._rows = rows

    def pixels(self, rows: Tensor) -> Tensor:
        return self._read(rows).to(self.device, non_blocking=True)

    def batches(self, drawn: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        with ThreadPoolExecutor(1) as reader:
            read = in_order(reader, lambda columns: (self._read(columns[0]), *columns[1:]), drawn, ahead=2)
            for pixels, *beside in read:
                yield pixels.to(self.device, non_blocking=True), *beside

    def _read(self, rows: Tensor) -> Tensor:
        pixels = torch.from_numpy(self._rows[rows.numpy()])
        return pixels.pin_memory() if self.device.type == "cuda" else pixels


def source(rows: Rows, device: torch.device, choice: str) -> Resident | Streamed:
    """Pixels held on the device where they fit or are wanted there ("resident"), else batch by batch."""
    size = int(np.prod(rows.shape)) * rows.memory.itemsize
    fits = size <= RESIDENT_SHARE[device.type] * memory_bytes(device)
    if choice == "stream" or (choice == "auto" and not fits):
        return Streamed(rows, device)
    try:
        return Resident(rows, device)
    except torch.OutOfMemoryError:
        log.warning("%d MiB of pixels do not fit beside what the device holds: they are streamed", size >> 20)
        return Streamed(rows, device)
