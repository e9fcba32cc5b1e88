"""Which classes the models take for which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Confused:
    """How many predictions of images of one class said another, or itself."""

    given: str
    predicted: str
    predictions: int


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Predictions by given and predicted class."""

    classes: list[str]
    counts: NDArray[np.int64]
    """Shape (classes, classes): a row for each given label."""

    def usual(self, label: str, count: int, *, least: float = 0.0) -> list[str]:
        """The other classes that images of this one are most often taken for, most often first: with more than the share
        `least` of its predictions. Empty for a class that was not predicted."""
        if label not in self.classes:
            return []
        given = self.classes.index(label)
        row = self.counts[given].copy()
        enough = least * row.sum()
        row[given] = 0
        order = np.argsort(-row, kind="stable")[:count]
        return [self.classes[i] for i in order.tolist() if row[i] > enough]


def confusion(classes: list[str], found: Iterable[Confused]) -> Confusion:
    """Raises KeyError for a class that is not among `classes`."""
    number = {label: i for i, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for one in found:
        counts[number[one.given], number[one.predicted]] += one.predictions
    return Confusion(classes, counts)
