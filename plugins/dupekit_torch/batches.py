"""Which images a step sees, in which order, and how each is moved.

All of an epoch is drawn at once: a step then takes a slice of each column, and on a GPU starts next to nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dupekit_torch.augment import Moves
from dupekit_torch.data import Source


@dataclass(frozen=True, slots=True)
class Data:
    """The images of one training. All tensors lie where `source.index_device` says."""

    source: Source
    rows: Tensor
    """Positions in the pool, (n,) int64."""
    labels: Tensor
    """(n,) int64."""
    weights: Tensor
    """(n,) float32."""
    sizes: Tensor
    """Log width and log height, (n, 2) float32."""


Columns = tuple[Tensor, ...]
"""Of some images: rows of the pool (k,) int64, where the source reads them; and, on the device that trains, what a loss
takes beside the pixels: symmetry codes (k,), shifts (k, 2), log sizes (k, 2), labels (k,), weights (k,)."""


def epochs(data: Data, moves: Moves, generator: torch.Generator, device: torch.device) -> Iterator[Columns]:
    """All images in a new random order, again and again, for ever."""
    for epoch in itertools.count():
        order = torch.randperm(len(data.rows), generator=generator, device=generator.device)
        beside = (*moves.draw(order, epoch), data.sizes[order], data.labels[order], data.weights[order])
        yield data.rows[order], *(column.to(device) for column in beside)


def batched(epochs: Iterable[Columns], batch: int) -> Iterator[Columns]:
    """The same images, `batch` at a time.

    A batch may hold the end of one epoch and the beginning of the next, so that none is smaller than the others: a batch
    of one has no variance to normalise by, and a new shape would be compiled anew.
    """
    rest: Columns = ()
    for columns in epochs:
        held = tuple(map(torch.cat, zip(rest, columns, strict=True))) if rest else columns
        whole = len(held[0]) // batch * batch
        if whole:
            yield from zip(*(torch.split(column[:whole], batch) for column in held), strict=True)
        rest = tuple(column[whole:] for column in held)
