"""What stands beside an image when somebody looks at it: typical images of a class, and look-alikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = Callable[[NDArray[np.intp]], NDArray[np.floating]]
"""Called with rows, shape (k,), it gives their features, shape (k, d)."""

_SURE = 0.5
"""From here on the models together hold the given label for more probable than all others."""

_SAMPLE = 4096
"""Features whose mean is taken for that of all."""
_QUERIES, _CANDIDATES, _BLOCK = 8192, 2048, 1024
"""So many are read at a time; and so many queries compared with these candidates: 8 MiB of similarities."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that stands for its class, or looks like another. Paths and labels are escaped text."""

    image: int
    """Its number in the ledger."""
    path: str
    """In the dataset."""
    digest: str
    label: str
    """What it is taken for: of a look-alike that somebody gave another label, that one."""
    confirmed: bool
    """Whether somebody said so."""
    probability_given: float
    """Mean over the round's predictions."""
    similarity: float | None = None
    """Of its features to those of the image that it was sought for, from -1 to 1; None where nothing was compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest of each of q queries, nearest first; shape (q, k), filled up where there are fewer."""

    rows: NDArray[np.intp]
    """-1 where there is none."""
    similarity: NDArray[np.float32]
    """From -1 to 1; -inf where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Features as directions from their common middle, so that the product of two is their cosine.

    Around the middle, because features that are never negative all point the same way. Of plankton's 2,662 images 64.7 % had a
    nearest one of their own label so, and 64.0 % around zero; scaling each feature brought nothing more.
    """

    features: Features
    middle: NDArray[np.float32]

    @classmethod
    def of(cls, features: Features, rows: NDArray[np.intp]) -> Space:
        """`rows` are those whose middle is taken; of many a sample, evenly spread."""
        sample = rows[:: max(1, len(rows) // _SAMPLE)]
        return cls(features, np.nan_to_num(features(sample).astype(np.float32)).mean(axis=0))

    def directions(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Shape (k, d), each of length 1; of what is no number, or the middle itself, 0."""
        found: NDArray[np.float32] = self.features(rows).astype(np.float32) - self.middle
        np.nan_to_num(found, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        length = np.linalg.norm(found, axis=1, keepdims=True)
        np.divide(found, length, out=found, where=length > 0)
        return found


def typical(
    labels: NDArray[np.integer],
    probability_given: NDArray[np.floating],
    contents: NDArray[np.integer],
    *,
    confirmed: NDArray[np.bool_],
    barred: NDArray[np.bool_],
) -> dict[int, NDArray[np.intp]]:
    """Label -> the rows that can stand for it, best first: confirmed ones, then by their mean probability; no label of which
    there is none.

    Arrays of shape (n,). `contents` has one number for all byte-identical images: of these one stands for them, and none where
    they have different labels, unless it is confirmed. `barred` are those that cannot, such as suspects.
    """
    several = _differing(labels, contents)
    first_rate = confirmed & (probability_given >= _SURE)
    order = np.lexsort((np.arange(len(labels)), -probability_given, ~first_rate, labels))
    order = order[~barred[order] & (confirmed[order] | ~several[order])]
    _, first = np.unique(
        contents[order] * (int(labels.max(initial=0)) + 1) + labels[order], return_index=True
    )
    order = order[np.sort(first)]
    found, starts = np.unique(labels[order], return_index=True)
    return (
        dict(zip(found.tolist(), np.split(order, starts[1:]), strict=bool(len(found)))) if len(found) else {}
    )


def nearest(
    space: Space,
    queries: NDArray[np.intp],
    candidates: NDArray[np.intp],
    contents: NDArray[np.integer],
    *,
    count: int,
) -> Neighbours:
    """For each query the `count` candidates most like it, never of its own content.

    Queries and candidates are rows; `contents` has a number for each row, the same for byte-identical images. Both are read a
    part at a time, so that memory grows with neither.
    """
    count = min(count, len(candidates))
    rows = np.full((len(queries), count), -1, np.intp)
    similarity = np.full((len(queries), count), -np.inf, np.float32)
    for start in range(0, len(queries), _QUERIES):
        asked = space.directions(queries[start : start + _QUERIES])
        for at in range(0, len(candidates), _CANDIDATES):
            offered = candidates[at : at + _CANDIDATES]
            directions = space.directions(offered)
            for first in range(0, len(asked), _BLOCK):
                alike = asked[first : first + _BLOCK] @ directions.T
                part = slice(start + first, start + first + len(alike))
                alike[contents[queries[part]][:, None] == contents[offered]] = -np.inf
                _keep_best(rows[part], similarity[part], offered, alike)
    rows[similarity == -np.inf] = -1
    return Neighbours(rows, similarity)


def _keep_best(
    rows: NDArray[np.intp],
    similarity: NDArray[np.float32],
    offered: NDArray[np.intp],
    alike: NDArray[np.float32],
) -> None:
    """Takes what is better than what there is, in place."""
    count = rows.shape[1]
    if not count:
        return
    if alike.shape[1] > count:
        best = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        best.sort(axis=1)
    else:
        best = np.broadcast_to(np.arange(alike.shape[1]), alike.shape)
    both = np.concatenate([similarity, np.take_along_axis(alike, best, axis=1)], axis=1)
    all_rows = np.concatenate([rows, offered[best]], axis=1)
    order = np.argsort(-both, axis=1, kind="stable")[:, :count]
    similarity[:] = np.take_along_axis(both, order, axis=1)
    rows[:] = np.take_along_axis(all_rows, order, axis=1)


def _differing(labels: NDArray[np.integer], contents: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether an image's content stands under more than one label, shape (n,)."""
    if not len(labels):
        return np.zeros(0, bool)
    largest = int(contents.max()) + 1
    lowest = np.full(largest, np.iinfo(np.int64).max)
    highest = np.full(largest, -1, np.int64)
    np.minimum.at(lowest, contents, labels)
    np.maximum.at(highest, contents, labels)
    differing: NDArray[np.bool_] = lowest[contents] != highest[contents]
    return differing
