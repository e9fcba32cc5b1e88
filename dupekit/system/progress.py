"""How far a stage is, and whether anybody still wants its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """Is told how far a stage is, and says whether to stop.

    A stage ends when all of it is done, and may begin again. One of a single part, `total` 1, is of unknown length:
    see `stage`. One that was given up has nothing left to do, `total` 0.

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


@contextlib.contextmanager
def stage(progress: Progress, name: str) -> Iterator[None]:
    """Tells of what is done meanwhile as one stage, of which nobody knows how long it takes."""
    progress(name, 0, 1)
    try:
        yield
    finally:
        progress(name, 1, 1)
