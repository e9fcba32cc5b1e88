"""The progress of several workers as one: what each tells of a stage is added up."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from statistics import fmean

from dupekit.plugin.checks import Told
from dupekit.system.progress import Progress

_ADDED_UP, _LARGEST = {"images_per_second"}, {"memory_mib"}
"""Figures. Of all others the mean is told."""


@dataclass(slots=True)
class _Stage:
    ended: int = 0
    """Parts that workers have done which are no more at it."""
    at: dict[Hashable, Told] = field(default_factory=dict)
    """What each worker said last that is at it."""


class JointProgress:
    """A stage ends when it has ended for all who are at it. With one worker all is passed on as it is told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stages: dict[str, _Stage] = {}

    def tell(self, worker: Hashable, told: Told) -> None:
        stage = self._stages.setdefault(told.stage, _Stage())
        stage.at[worker] = told
        figures = _joined(list(stage.at.values()))
        if told.done >= told.total:
            self._leave(worker, told.stage, told.total)
        self._pass_on(told.stage, stage, figures)

    def forget(self, worker: Hashable) -> None:
        """It is dead: the stages that it was at go on without it."""
        for name, stage in list(self._stages.items()):
            if worker in stage.at:
                self._leave(worker, name, stage.at[worker].done)
                if stage.at:
                    self._pass_on(name, stage, _joined(list(stage.at.values())))
                else:
                    self._progress(name, 0, 0)

    def _leave(self, worker: Hashable, name: str, done: int) -> None:
        stage = self._stages[name]
        del stage.at[worker]
        stage.ended += done
        if not stage.at:
            del self._stages[name]

    def _pass_on(self, name: str, stage: _Stage, figures: dict[str, float]) -> None:
        total = stage.ended + sum(told.total for told in stage.at.values())
        done = stage.ended + sum(told.done for told in stage.at.values())
        if all(told.total == 1 for told in stage.at.values()) and total > 1 and stage.at:
            done, total = 0, 1  # of unknown length for each of them
        self._progress(name, done, total, **figures)


def _joined(said: list[Told]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for told in said:
        for name, value in told.figures.items():
            values.setdefault(name, []).append(value)
    return {name: _one(name, some) for name, some in values.items()}


def _one(name: str, values: list[float]) -> float:
    if name in _ADDED_UP:
        return sum(values)
    return max(values) if name in _LARGEST else fmean(values)
