"""What the commands print: sentences and JSON. Tables are in `tables`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from dupekit.cli.terminal import Tone, styled, width_of, wrapped
from dupekit.files.names import printable
from dupekit.rounds.in_words import counted as counted

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
    write(sys.stdout, json.dumps(document, indent=1, ensure_ascii=ascii_only, default=_plain) + "\n")


def say(text: str, *, tone: Tone | None = None) -> None:
    """Sentences for the person, to stdout."""
    _tell(sys.stdout, text, tone)


def warn(text: str, *, tone: Tone | None = Tone.WARNING) -> None:
    """To stderr, so that it never gets into a pipe."""
    _tell(sys.stderr, text, tone)


def _tell(stream: TextIO, text: str, tone: Tone | None) -> None:
    """On a terminal lines are coloured where that means something."""
    write(stream, "".join(styled(line, stream, tone=tone) + "\n" for line in told(text, stream)))


def told(text: str, stream: TextIO, *, margin: int = 0) -> list[str]:
    """The lines of a text: wrapped between words on a terminal, so many columns before its edge."""
    shown = printable(text)
    return wrapped(shown, width_of(stream) - margin) if stream.isatty() else shown.split("\n")


def clock(stamp: str) -> str:
    """A time of the ledger, ISO 8601, as the clock on the wall shows it. What a damaged ledger holds stays as it is."""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return stamp


def unapplied_counts(unapplied: Sequence[Unapplied]) -> str:
    """As in "3 decisions are not applied (1 gone, 2 content changed)"; of those that are pending."""
    from collections import Counter

    counts = Counter(one.reason for one in unapplied if one.pending)
    total = sum(counts.values())
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f"{counted(total, 'decision')} {'is' if total == 1 else 'are'} not applied ({why})"


def write(stream: TextIO, text: str) -> None:
    """Where nobody reads any more, as after `| head`, the command goes on and says nothing further."""
    try:
        typer.echo(text, file=stream, nl=False)  # which Windows' consoles understand the colours of
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
