"""How far a run is, and several that go on side by side, as one progress."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dupekit.api import PluginError, Progress
from dupekit_torch.memory import peak_memory_mib
from dupekit_torch.schedule import Plan


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

    @property
    def stopped(self) -> bool:
        return self._stopped or self._progress.cancelled

    def part(self, position: int) -> Progress:
        """The progress of one run."""
        return _Part(self, position)

    def show(self, position: int, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Takes in how far one run is, and tells how far all are."""
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

    def _summed(self, last: Mapping[str, float]) -> dict[str, float]:
        running = list(self._figures.values()) or ([last] if last else [])
        if not running:
            return {}
        return {
            "images_per_second": sum(figures["images_per_second"] for figures in running),
            "loss": sum(figures["loss"] for figures in running) / len(running),
            "memory_mib": max(figures["memory_mib"] for figures in running),
        }


class _Part:
    """The progress of one of several runs."""

    def __init__(self, together: Together, position: int) -> None:
        self._together, self._position = together, position

    @property
    def cancelled(self) -> bool:
        return self._together.stopped

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        if self._together.stopped:
            raise Stopped
        self._together.show(self._position, stage, done, total, figures)


class Meter:
    """Tells the progress about once a second; reading a loss waits for the device, so no oftener."""

    def __init__(self, plan: Plan, progress: Progress, device: torch.device) -> None:
        self._plan, self._progress, self._device = plan, progress, device
        self._began = self._last = time.monotonic()
        progress("training", 0, plan.images * plan.epochs)

    def show(self, step: int, loss: Tensor) -> None:
        if time.monotonic() < self._last + 1 and step < self._plan.steps:
            return
        figures = {"loss": float(loss)}
        if not math.isfinite(figures["loss"]):
            raise PluginError(
                f"The training diverged: its loss is {figures['loss']} after {step} steps.",
                hint="Choose a lower learning_rate, or precision=float32.",
            )
        figures["memory_mib"] = peak_memory_mib(self._device)
        self._last = time.monotonic()
        seen = step * self._plan.batch
        figures["images_per_second"] = seen / max(1e-9, self._last - self._began)
        total = self._plan.images * self._plan.epochs
        self._progress("training", min(seen, total), total, **figures)
