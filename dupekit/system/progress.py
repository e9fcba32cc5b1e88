"""How far a stage is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives how far a stage is. `figures` are numbers worth showing; known names are images_per_second,
    loss, agreement (share of predictions that equal the given label) and memory_mib (of the device)."""

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None: ...


def silent(stage: str, done: int, total: int, /, **figures: float) -> None:
    """The `Progress` that shows nothing."""
