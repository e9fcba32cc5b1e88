"""How far a run is, and several that go on side by side, as one progress."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dupekit.api import PluginError, Progress
from dupekit_torch.device import peak_memory_mib
from dupekit_torch.fit.schedule import Schedule


class JointProgress:
    """Adds up the looks at images of all runs, so that the time left is that of all of them."""

    def __init__(self, progress: Progress, looks: Sequence[int]) -> None:
        self._progress = progress
        self._total = sum(looks)
        self._done = [0] * len(looks)
        self._figures: dict[int, Mapping[str, float]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """From now on every run is told that it is cancelled."""
        self._closed = True

    @property
    def cancelled(self) -> bool:
        return self._closed or self._progress.cancelled

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        with self._lock:
            self._progress(stage, done, total, **figures)

    def of_run(self, position: int) -> Progress:
        """The progress of one run."""
        return _OfRun(self, position)

    def show(self, position: int, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Takes in how far one run is, and tells how far all are."""
        if stage != "training":
            self(stage, done, total, **figures)
            return
        with self._lock:
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


class _OfRun:
    def __init__(self, joint: JointProgress, position: int) -> None:
        self._joint, self._position = joint, position

    @property
    def cancelled(self) -> bool:
        return self._joint.cancelled

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        self._joint.show(self._position, stage, done, total, figures)


class Meter:
    """Tells the progress about once a second; reading a loss waits for the device, so no oftener."""

    def __init__(self, schedule: Schedule, progress: Progress, device: torch.device) -> None:
        self._schedule, self._progress, self._device = schedule, progress, device
        self._began = self._last = time.monotonic()
        progress("training", 0, schedule.looks)

    def show(self, step: int, loss: Tensor) -> None:
        if time.monotonic() < self._last + 1 and step < self._schedule.steps:
            return
        figures = {"loss": float(loss)}
        if not math.isfinite(figures["loss"]):
            raise PluginError(
                f"The training diverged: its loss is {figures['loss']} after {step} steps.",
                hint="Choose a lower learning_rate, or precision=float32.",
            )
        figures["memory_mib"] = peak_memory_mib(self._device)
        self._last = time.monotonic()
        seen = min(step * self._schedule.batch, self._schedule.looks)
        figures["images_per_second"] = seen / max(1e-9, self._last - self._began)
        self._progress("training", seen, self._schedule.looks, **figures)
