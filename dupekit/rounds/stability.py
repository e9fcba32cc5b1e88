"""Stability: how much of the list a further pair changes, and whether that is little enough to stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRONG = 2.0
"""The list whose stability is looked at has the images with a score above it: another class is over seven times as probable."""

STABLE = 0.03
"""A list that a pair changes by less than this share is stable."""

LEAST_PAIRS = 5
"""Before so many pairs no list is taken for stable: a short list may agree by chance. On plankton-small with planted errors no
list was before (n = 5), and looking costs as much as the heads of a pair."""


@dataclass(frozen=True, slots=True)
class Stability:
    """What the last pair changed. Those of parts of a dataset add up."""

    changed: int
    """Images that came above STRONG with the last pair, or fell from there."""
    images: int
    """Those that were above it before, or are now."""

    @classmethod
    def between(cls, before: NDArray[np.floating], after: NDArray[np.floating]) -> Stability:
        """Of scores without the last pair and with it, both of shape (n,)."""
        was, now = before > STRONG, after > STRONG
        return cls(int((was != now).sum()), int((was | now).sum()))

    def __add__(self, other: Stability) -> Stability:
        return Stability(self.changed + other.changed, self.images + other.images)

    @property
    def share(self) -> float:
        """Symmetric difference over union; 0 where nothing is on the list."""
        return self.changed / self.images if self.images else 0.0


def is_stable(found: Stability | None, *, pairs: int) -> bool:
    """Whether a list counted over so many pairs is stable. None: nothing is known of it."""
    return found is not None and pairs >= LEAST_PAIRS and found.share < STABLE
