"""What heads are trained on: the pool's features, evened out and standardised, with the size beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Images, Rows
from dupekit_probe.networks import Head, Layer, Shape
from dupekit_probe.options import HeadKind, ProbeOptions

COMPONENTS = 256
"""A hidden layer on the last layer reads so many principal components instead of its 1,280 features: a fifth of the time.
Average precision of the four heads together after five pairs, with it less without: on labels of people -.0005, -.0009 and
-.0002, on uniform errors +.0005 and +.0005, on look-alikes +.018, +.015 and +.011 (a seed each)."""
_SAMPLE = 4096
"""Images of which the components are computed."""
_CHUNK = 8192
_FULL_PRECISION_BYTES = 2**30
"""Above it, features stay in half precision in memory: 3.9 kB an image instead of 7.9."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """How features are prepared for heads."""

    mean: NDArray[np.float32]
    """Shape (dim,), or (dim + 2,) with log width and height between the pools and the last layer."""
    std: NDArray[np.float32]
    square_root: bool
    pools: int
    """So many features stand before the log size."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    matrix: NDArray[Any]
    """Shape (images, all): earlier pools, log size, last layer, and the components of the latter two where there are any."""
    scaling: Scaling
    of_pools: slice
    """Columns of what heads on earlier pools read: the log size stands in both."""
    of_last: slice
    components: NDArray[np.float32] | None
    """Shape (columns of the last layer, COMPONENTS); None where these are few."""

    def shape(self, kind: HeadKind) -> Shape:
        """Which of the columns a head is trained on."""
        if kind is HeadKind.MLP and self.components is not None:
            return Shape(slice(self.of_last.stop, self.matrix.shape[1]), kind.hidden)
        return Shape(self.of_pools if kind.of_pools else self.of_last, kind.hidden)

    def of_features(self, head: Head) -> Head:
        """The same head as one that reads no components: they become a part of its first layer."""
        if self.components is None or head.columns.start != self.of_last.stop:
            return head
        first, *rest = head.layers
        weight: NDArray[np.float32] = first.weight @ self.components.T
        return Head(self.of_last, (Layer(weight, first.bias), *rest))


def prepare(rows: Rows, pool: Images, options: ProbeOptions, pools: int) -> Prepared:
    """Mean, deviation and components are those of the whole pool, held-out images included: no label has a part in them."""
    count, dim = rows.shape
    sizes = 2 * options.log_size
    wide = dim + sizes
    total, squares = np.zeros(wide), np.zeros(wide)
    for start in range(0, count, _CHUNK):
        precise = _raw(rows, pool, start, options, pools).astype(np.float64)
        total += precise.sum(0)
        squares += np.square(precise).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std[std < 1e-4] = 1.0  # constant features carry nothing; dividing would only amplify rounding
    scaling = Scaling(mean.astype(np.float32), std.astype(np.float32), options.square_root, pools)
    of_last = slice(pools, wide)
    reduced = wide - pools > COMPONENTS
    columns = wide + COMPONENTS * reduced
    dtype = np.float32 if 4 * count * columns <= _FULL_PRECISION_BYTES else np.float16
    matrix = np.empty((count, columns), dtype)
    for start in range(0, count, _CHUNK):
        part = _raw(rows, pool, start, options, pools)
        matrix[start : start + len(part), :wide] = (part - scaling.mean) / scaling.std
    made = Prepared(matrix, scaling, slice(0, pools + sizes), of_last, None)
    if not reduced:
        return made
    components = _components(matrix[:: -(-count // _SAMPLE), of_last].astype(np.float64))
    for start in range(0, count, _CHUNK):
        chunk = matrix[start : start + _CHUNK]
        chunk[:, wide:] = chunk[:, of_last].astype(np.float32) @ components
    return replace(made, components=components)


def _components(sample: NDArray[np.float64]) -> NDArray[np.float32]:
    """The principal components of standardised features (n, columns), in one scale: their deviation is 1 in the mean."""
    import torch

    # By one thread it takes .3 s. NumPy's wait for each other, for half a minute where the processors are busy.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = torch.linalg.eigh(torch.from_numpy(sample.T @ sample / len(sample)))
    finally:
        torch.set_num_threads(before)
    values, vectors = (part.numpy()[..., ::-1][..., :COMPONENTS] for part in found)
    # Which way a component points is an accident of the library; what is trained on it depends on that.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(COMPONENTS)])
    scale = np.sqrt(np.maximum(values, 0)).mean()
    components: NDArray[np.float32] = (vectors / max(scale, 1e-4)).astype(np.float32)
    return components


def _raw(rows: Rows, pool: Images, start: int, options: ProbeOptions, pools: int) -> NDArray[np.float32]:
    part: NDArray[np.float32] = rows[start : start + _CHUNK].astype(np.float32)
    if options.square_root:  # F. Perronnin et al. (ECCV 2010): evens out features that rarely fire
        np.copysign(np.sqrt(np.abs(part)), part, out=part)
    if options.log_size:
        sizes = pool[start : start + len(part)].log_sizes()
        part = np.concatenate([part[:, :pools], sizes, part[:, pools:]], axis=1)
    return part
