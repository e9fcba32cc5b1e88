"""A worker's `Progress`: passes on what is worth it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from dupekit.jobs.lifeline import Lifeline
from dupekit.jobs.messages import Logged, Message
from dupekit.plugin.checks import Told

LEAST_S = 0.1
"""No stage tells of itself more often: a person reads no faster, and a head predicts thousands of batches."""


class Reporter:
    """The `Progress` of all runs of a worker."""

    def __init__(self, lifeline: Lifeline, say: Callable[[Message], None]) -> None:
        self._lifeline = lifeline
        self._say = say
        self._sparing = _Sparing()

    @property
    def cancelled(self) -> bool:
        return self._lifeline.cancelled

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        if self._sparing.lets(stage, done, total):
            self._say(Told(stage, done, total, figures))


class LogReporter(logging.Handler):
    """Passes on what plugins log under "dupekit", so that the person at the terminal sees it."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(Logged(record.name, record.levelno, record.getMessage()))


class _Sparing:
    """Of the messages about each stage, lets the first and the last through, and in between ten a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # runs go on side by side
        self._told: dict[str, tuple[int, float]] = {}
        """Stage -> how far it was when it was last heard of, and when it was last told of."""

    def lets(self, stage: str, done: int, total: int) -> bool:
        now = time.monotonic()
        with self._lock:
            before, last = self._told.get(stage, (-1, -math.inf))
            begins = done == 0 or done < before  # of the next run
            passes = begins or done >= total or now >= last + LEAST_S
            self._told[stage] = (done, now if passes else last)
        return passes
