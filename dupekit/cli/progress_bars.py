"""Progress as bars on a terminal."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dupekit.cli.output import warn

if TYPE_CHECKING:
    from dupekit.system.progress import Progress

_PACE_S = 600.0
"""The pace of a stage is that of so many seconds: some tell of themselves once a minute."""


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """A Progress that shows a bar a stage that goes on, with the time left, on stderr; nothing where that is no terminal.

    Meanwhile, what dupekit and its plugins log goes to stderr, too."""
    import logging

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(record.getMessage(), tone=None)  # through sys.stderr as it is now: above the bars

    logger, teller = logging.getLogger("dupekit"), Teller(logging.INFO)
    logger.setLevel(logging.INFO)
    logger.addHandler(teller)
    try:
        with _bars() as progress:
            yield progress
    finally:
        logger.removeHandler(teller)


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    if not sys.stderr.isatty():
        from dupekit.system.progress import silent

        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            known = task.total is not None
            return Text(f"{task.completed:.0f}/{task.total:.0f}" if known else "", justify="right")

    class TimeLeft(ProgressColumn):
        def render(self, task: Task) -> Text:
            left = time_left_s(
                done=task.completed,
                total=task.total,
                elapsed_s=task.elapsed or 0.0,
                silent_s=task.get_time() - task.fields["advanced"],
                pace=task.speed,
            )
            return Text("" if left is None else f"left {timedelta(seconds=math.ceil(left))}")

    class BarsAndFigures(Bars):
        """The figures stand on lines below: in one line with the bars, 80 columns hold neither."""

        def get_renderables(self) -> Iterator[Any]:
            yield self.make_tasks_table(self.tasks)
            for task in self.tasks:
                if task.visible and task.fields["figures"]:
                    yield Text(f"{task.description}: {task.fields['figures']}")

    columns = (TextColumn("{task.description:<20}"), BarColumn(), Count(), TimeElapsedColumn(), TimeLeft())
    with BarsAndFigures(*columns, console=Console(stderr=True), speed_estimate_period=_PACE_S) as bars:
        yield _Shown(bars)


def stop_bars(progress: Progress) -> None:
    """Leaves the terminal to a question. What is told after it is not shown."""
    if isinstance(progress, _Shown):
        progress.stop()


def time_left_s(
    *, done: float, total: float | None, elapsed_s: float, silent_s: float, pace: float | None
) -> float | None:
    """How long a stage still takes, by its `pace` since something was done first, a second.

    What is done in bursts (runs side by side) seems fast, until the next one is overdue; then the pace since the
    stage began tells more. None where neither can be right.
    """
    if total is None or not done or not pace:
        return None
    left = (total - done) / pace - silent_s
    if left < 0:
        left = (total - done) / done * (elapsed_s - silent_s) - silent_s
    return left if left >= 0 else None


class _Shown:
    """The `Progress` that shows a bar for each stage that goes on, and for the last that was told of."""

    cancelled = False

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        self._ended: set[str] = set()
        """Of the stages shown."""

    def stop(self) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        for other in self._ended - {stage}:
            self._bars.update(self._tasks[other], visible=False)
        self._ended = {stage} if done >= total > 0 else set()
        if done == 0 and stage in self._tasks:
            self._bars.remove_task(self._tasks.pop(stage))
        if total == 0:
            return
        known = None if total == 1 and not done else total  # one part: nobody knows how long it takes
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=known, figures="", advanced=0.0)
        text = ", ".join(
            f"{name.replace('_', ' ').replace('mib', 'MiB')} {value:.4g}" for name, value in figures.items()
        )
        advanced = {"advanced": self._bars.get_time()} if done else {}
        self._bars.update(
            self._tasks[stage], completed=done, total=known, visible=True, figures=text, **advanced
        )
