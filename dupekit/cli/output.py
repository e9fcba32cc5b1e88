"""What the commands print: sentences, tables, JSON. Tables are plain text in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from dupekit.files.names import printable

if TYPE_CHECKING:
    from dupekit.correct.resolve import Unapplied
    from dupekit.project import Project

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
    _write(sys.stdout, json.dumps(document, indent=1, ensure_ascii=ascii_only, default=_plain) + "\n")


def say(text: str) -> None:
    """One line or more for the person, to stdout."""
    _write(sys.stdout, printable(text) + "\n")


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
    _write(sys.stderr, printable(text) + "\n")


def _write(stream: TextIO, text: str) -> None:
    """Where nobody reads any more, as after `| head`, the command goes on and says nothing further."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
    console.print(
        Text(printable(title), style="bold")
    )  # not the table's own title, which wraps at the table's width
    console.print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


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
