"""How far a stage is, and whether anybody still wants its end."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told how far a stage is, and says whether to stop.

    `figures` are numbers worth showing; known names are images_per_second, loss, agreement (share of predictions
    that equal the given label) and memory_mib (of the device).
    """

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None: ...

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more: what is going on may end at once, in any way."""
        ...


class Silent:
    """The `Progress` that shows nothing and never cancels."""

    cancelled = False

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None: ...


silent = Silent()
