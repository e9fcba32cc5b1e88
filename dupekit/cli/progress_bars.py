"""Progress as bars on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dupekit.cli.output import warn

if TYPE_CHECKING:
    from dupekit.system.progress import Progress


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """A Progress that shows a bar a stage, with the time left, on stderr; nothing where that is no terminal.

    Meanwhile, what dupekit and its plugins log goes to stderr, too."""
    import logging

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(record.getMessage())  # through sys.stderr as it is now: above the bars

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
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )

    class BarsAndFigures(Bars):
        """The figures stand on lines below: in one line with the bars, 80 columns hold neither."""

        def get_renderables(self) -> Iterator[Any]:
            yield self.make_tasks_table(self.tasks)
            for task in self.tasks:
                if task.fields["figures"]:
                    yield Text(f"{task.description}: {task.fields['figures']}")

    with BarsAndFigures(*columns, console=Console(stderr=True)) as bars:
        yield _Shown(bars)


class _Shown:
    """The `Progress` that shows a bar a stage."""

    cancelled = False

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, figures="")
        elif done == 0:
            self._bars.reset(self._tasks[stage], total=total)
        text = ", ".join(
            f"{name.replace('_', ' ').replace('mib', 'MiB')} {value:.4g}" for name, value in figures.items()
        )
        self._bars.update(self._tasks[stage], completed=done, total=total, figures=text)
