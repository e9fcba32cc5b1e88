"""Layers: predictions of any number of files, dealt so that each layer holds each image once at most.

The first prediction of every image is the first layer, the second the second, in the order of the files. So five files of a
cross-validation are one layer, and twenty files of ten pairs of halves are ten: a layer is what a pair is in a round of dupekit's
own, and an image can get as many votes as there are layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What a layer takes of one file."""

    file: int
    """Its position among the files."""
    at: NDArray[np.int64]
    """Positions of the predictions in the file."""
    rows: NDArray[np.int64]
    """The images that they are of, row for row."""


def layers(files: Sequence[NDArray[np.int64]], images: int) -> list[list[Part]]:
    """`files` says of each file which image each prediction is of, among so many images; -1 for none. No file may have an image
    twice."""
    found: list[list[Part]] = []
    count = np.zeros(images, np.int64)
    for file, rows in enumerate(files):
        at = np.flatnonzero(rows >= 0)
        of = rows[at]
        layer = count[of]
        count[of] += 1
        for number in np.unique(layer).tolist():
            while len(found) <= number:
                found.append([])
            chosen = layer == number
            found[number].append(Part(file, at[chosen], of[chosen]))
    return found
