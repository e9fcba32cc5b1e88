"""How far several runs are that go on side by side, as one progress."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from dupekit.api import Progress


class Stopped(Exception):
    """Raised inside a run that nobody waits for any more."""


class Together:
    """Adds up the looks at images of all runs, so that the time left is that of all of them."""

    def __init__(self, progress: Progress, looks: Sequence[int]) -> None:
        self._progress = progress
        self._total = sum(looks)
        self._done = [0] * len(looks)
        self._figures: dict[int, Mapping[str, float]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Ends the runs that still go on: each at its next sign of life."""
        self._stopped = True

    def part(self, position: int) -> Progress:
        """The progress of one run."""

        def show(stage: str, done: int, total: int, /, **figures: float) -> None:
            if self._stopped:
                raise Stopped
            with self._lock:
                if stage != "training":
                    self._progress(stage, done, total, **figures)
                    return
                self._done[position] = done
                if figures and done < total:
                    self._figures[position] = figures
                else:  # begins, or has ended
                    self._figures.pop(position, None)
                self._progress("training", sum(self._done), self._total, **self._summed(figures))

        return show

    def _summed(self, last: Mapping[str, float]) -> dict[str, float]:
        running = list(self._figures.values()) or ([last] if last else [])
        if not running:
            return {}
        return {
            "images_per_second": sum(figures["images_per_second"] for figures in running),
            "loss": sum(figures["loss"] for figures in running) / len(running),
            "memory_mib": max(figures["memory_mib"] for figures in running),
        }
