"""Which images a step sees, in which order, and how each is moved.

All of an epoch is drawn at once: a step then takes a slice of each column, and on a GPU starts next to nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dupekit_torch.pixels.augment import Augmentation, Moves
from dupekit_torch.pixels.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
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

    def __len__(self) -> int:
        return len(self.rows)


class Batch(NamedTuple):
    """What a loss takes, all on the device that trains: a column each, so that it can be cut and joined as such."""

    pixels: Tensor
    """(b, s, s, channels) uint8; or maps, (b, views, side, side, channels) float16."""
    codes: Tensor
    """Of symmetries, (b,) int64."""
    shifts: Tensor
    """(b, 2) int64."""
    sizes: Tensor
    """Log width and log height, (b, 2) float32."""
    labels: Tensor
    """(b,) int64."""
    weights: Tensor
    """(b,) float32."""

    @classmethod
    def trial(cls, source: Source, size: int) -> Batch:
        """Of the shapes of a run's batches, and like them no tensor twice."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=source.device)

        pixels = source.pixels(torch.zeros(size, dtype=torch.int64, device=source.index_device))
        return cls(
            pixels, zeros(size), zeros(size, 2), zeros(size, 2).float(), zeros(size), zeros(size).float()
        )

    def parts(self, count: int) -> Iterator[Batch]:
        return map(Batch._make, zip(*(column.tensor_split(count) for column in self), strict=True))


def batches(
    images: TrainingSet, augmentation: Augmentation, *, size: int, count: int, seed: int
) -> Iterator[Batch]:
    """So many batches of a training that `seed` decides."""
    generator = torch.Generator(images.source.index_device).manual_seed(seed)
    moves = Moves(augmentation, len(images), generator)
    drawn = itertools.islice(_batched(_epochs(images, moves, generator), size), count)
    return itertools.starmap(Batch, images.source.batches(drawn))


_Columns = tuple[Tensor, ...]
"""Those of `Batch`, with rows of the pool, where the source reads them, in the place of pixels."""


def _epochs(images: TrainingSet, moves: Moves, generator: torch.Generator) -> Iterator[_Columns]:
    """All images in a new random order, again and again, for ever."""
    device = images.source.device
    for epoch in itertools.count():
        order = torch.randperm(len(images), generator=generator, device=generator.device)
        beside = (*moves.draw(order, epoch), images.sizes[order], images.labels[order], images.weights[order])
        yield images.rows[order], *(column.to(device) for column in beside)


def _batched(epochs: Iterable[_Columns], size: int) -> Iterator[_Columns]:
    """The same images, `size` at a time.

    A batch may hold the end of one epoch and the beginning of the next, so that none is smaller than the others: a batch
    of one has no variance to normalise by, and a new shape would be compiled anew.
    """
    rest: _Columns = ()
    for columns in epochs:
        held = tuple(map(torch.cat, zip(rest, columns, strict=True))) if rest else columns
        whole = len(held[0]) // size * size
        if whole:
            yield from zip(*(torch.split(column[:whole], size) for column in held), strict=True)
        rest = tuple(column[whole:] for column in held)
