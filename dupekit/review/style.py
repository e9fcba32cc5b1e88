"""How a review tree shows its images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Order(StrEnum):
    """By what a file manager sorts the images of a folder."""

    NAME = "name"
    """The suggested class, then votes."""
    RANK = "rank"
    """The most suspicious first: a number begins each name."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a tree shows its images."""

    order: Order = Order.NAME
    enlarge: int | None = 1
    """The factor of all copies; None: chosen so that the images can be seen well."""
    only_flagged_classes: bool = False
    """Whether classes without an image get no folder. Else one stands ready for each, to move images into."""


PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Stratum:
    """Where an image of the audit was drawn from."""

    number: int
    population: int
