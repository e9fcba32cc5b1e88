"""What the commands print: tables, JSON, progress. Tables are plain text in a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dupekit.correct.resolve import Unapplied
    from dupekit.project import Project
    from dupekit.system.progress import Progress

ProjectOption = Annotated[
    Path | None,
    typer.Option("-p", "--project", help="The project's folder; else the nearest one from here upward."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def open_project(path: Path | None) -> Project:
    from dupekit.project import Project

    return Project(path) if path else Project.find()


def print_json(document: Any) -> None:
    import json

    # What an encoding lacks would be escaped by Python as JSON does not know it.
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=ascii_only, default=_plain) + "\n")


def say(text: str) -> None:
    """One line or more for the person, to stdout."""
    sys.stdout.write(text + "\n")


def counted(number: int, noun: str) -> str:
    """As in "1 image" and "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def unapplied_counts(unapplied: Sequence[Unapplied]) -> str:
    """As in "3 decisions are not applied (1 gone, 2 content changed)"; of those that are pending."""
    from collections import Counter

    counts = Counter(one.reason for one in unapplied if one.pending)
    total = sum(counts.values())
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f"{counted(total, 'decision')} {'is' if total == 1 else 'are'} not applied ({why})"


def warn(text: str) -> None:
    """To stderr, so that it never gets into a pipe."""
    sys.stderr.write(text + "\n")


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on a terminal; in a pipe tab-separated lines under their headings, for cut and awk.

    Columns whose heading starts with "#" are numbers, set to the right.
    """
    names = [heading.lstrip("#") for heading in headings]
    if not sys.stdout.isatty():
        say(f"{title}\n" + "\t".join(names))
        for row in rows:
            say("\t".join(_cell(value) for value in row))
        say("")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD)
    for heading, name in zip(headings, names, strict=True):
        shown.add_column(name, justify="right" if heading.startswith("#") else "left", overflow="fold")
    for row in rows:
        shown.add_row(
            *(Text(_cell(value)) for value in row)
        )  # Text: a name may hold what rich takes for markup
    console = Console()
    console.print(Text(title, style="bold"))  # not the table's own title, which wraps at the table's width
    console.print(shown)


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


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def fields(value: Any) -> dict[str, Any]:
    """A dataclass as a dict of its fields, without going deeper."""
    import dataclasses

    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields(value)
    if isinstance(value, Path):
        from dupekit.files.names import escape

        return escape(str(value))
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", by_alias=True)
    raise TypeError(f"no JSON for {type(value).__name__}")
