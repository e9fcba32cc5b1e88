"""Tables: as wide as the terminal, and no wider; in a pipe tab-separated and whole, for cut and awk."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from dupekit.cli.output import clock, say, write
from dupekit.cli.terminal import Tone, cells, shortened, styled, takes, width_of, wrapped
from dupekit.files.names import printable
from dupekit.rounds.in_words import percent

GAP = "  "
"""Between columns."""

LEAST = 14
"""Columns that a name or a word of a text gets, however narrow the terminal is, if it needs them."""


FIRST = 20
"""Rows of a list that could be long, for `table(most=...)`."""


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    """Wraps between words."""
    NAME = "name"
    """Of a file, folder or class: stays on its line, and is shortened in its middle."""
    NUMBER = "number"
    """To the right, and never broken."""
    SHARE = "share"
    """A number from 0 to 1, as a percentage."""
    TIME = "time"
    """ISO 8601, as the clock on the wall shows it."""


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    kind: Kind

    @property
    def to_the_right(self) -> bool:
        return self.kind in (Kind.NUMBER, Kind.SHARE)

    @property
    def flexible(self) -> bool:
        return self.kind in (Kind.TEXT, Kind.NAME)


def texts(heading: str) -> Column:
    return Column(heading, Kind.TEXT)


def names(heading: str) -> Column:
    return Column(heading, Kind.NAME)


def numbers(heading: str) -> Column:
    return Column(heading, Kind.NUMBER)


def shares(heading: str) -> Column:
    return Column(heading, Kind.SHARE)


def times(heading: str) -> Column:
    return Column(heading, Kind.TIME)


@dataclass(frozen=True, slots=True)
class Toned:
    """A cell with a colour."""

    value: Any
    tone: Tone


@dataclass(frozen=True, slots=True)
class Sentence:
    """A cell in a column of names that is none: it wraps between words."""

    value: str


def table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    whole: bool = False,
    most: int | None = None,
    asked: bool = False,
    rest: str = "--json has all.",
) -> None:
    """On a terminal a table that fits: names shortened but with `whole`, no column in which nothing stands, and at most
    the first `most` rows; then says how many there are, and in the words of `rest` where. In a pipe it is whole, and
    tab-separated; where a person `asked` for so many rows, there are no more in a pipe either."""
    if not sys.stdout.isatty():
        rows = rows[:most] if asked else rows
        say("\n".join([title, *("\t".join(line) for line in _raw(columns, rows)), ""]))
        return
    if not rows:
        say(f"{title}: none\n")
        return
    filled = [number for number in range(len(columns)) if any(row[number] not in (None, "") for row in rows)]
    kept = [columns[number] for number in filled]
    shown = [[row[number] for number in filled] for row in rows[:most]]
    write(sys.stdout, "".join(f"{line}\n" for line in _drawn(title, kept, shown, whole=whole)))
    if len(shown) < len(rows):
        say(f"These are the first {len(shown):,} of {len(rows):,}: {rest}")
    say("")


def _raw(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[list[str]]:
    yield [column.heading for column in columns]
    for row in rows:
        yield [_plain(cell) for cell in row]


def _plain(cell: Any) -> str:
    value = cell.value if isinstance(cell, Toned | Sentence) else cell
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value)).replace("\n", " ")


def _written(cell: Any, kind: Kind) -> str:
    """A cell as people write it."""
    value = cell.value if isinstance(cell, Toned | Sentence) else cell
    if kind is Kind.SHARE and isinstance(value, int | float):
        return percent(value)
    if kind is Kind.NUMBER and isinstance(value, int):
        return f"{value:,}"
    if kind is Kind.TIME and value:
        return clock(value)
    return _plain(value)


def _drawn(
    title: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, whole: bool
) -> Iterator[str]:
    room = width_of(sys.stdout)
    for line in wrapped(printable(title), room):
        yield styled(line, sys.stdout, bold=True)
    texts = [[_written(cell, column.kind) for cell, column in zip(row, columns, strict=True)] for row in rows]
    tones = [[cell.tone if isinstance(cell, Toned) else None for cell in row] for row in rows]
    widths = _widths(columns, texts, room - len(GAP) * (len(columns) - 1))
    if widths is None:
        yield from _listed(columns, texts, tones, room)
        return
    headings = [wrapped(column.heading, width) for column, width in zip(columns, widths, strict=True)]
    high = max(map(len, headings))
    above = [[""] * (high - len(lines)) + lines for lines in headings]  # the last line stands on the rule
    yield from _lines(columns, above, [None] * len(columns), widths, bold=True)
    yield ("─" if takes(sys.stdout, "─") else "-") * (sum(widths) + len(GAP) * (len(columns) - 1))
    for row, cells_of_row, row_tones in zip(texts, rows, tones, strict=True):
        fitted = [
            _fitted(text, column, width, whole=whole or isinstance(cell, Sentence))
            for text, cell, column, width in zip(row, cells_of_row, columns, widths, strict=True)
        ]
        yield from _lines(columns, fitted, row_tones, widths)


def _fitted(text: str, column: Column, width: int, *, whole: bool) -> list[str]:
    if column.kind is Kind.NAME and not whole:
        return [shortened(text, width, "…" if takes(sys.stdout, "…") else "...")]
    return wrapped(text, width, fold=True)


def _lines(
    columns: Sequence[Column],
    texts: Sequence[Sequence[str]],
    tones: Sequence[Tone | None],
    widths: Sequence[int],
    *,
    bold: bool = False,
) -> Iterator[str]:
    """The lines of one row, whose cells are lists of lines."""
    for line in zip_longest(*texts, fillvalue=""):
        placed = ""
        last = max((number for number, text in enumerate(line) if text), default=0)
        for number in range(last + 1):
            text, column = line[number], columns[number]
            blank = " " * (widths[number] - cells(text))
            text = styled(text, sys.stdout, tone=tones[number], bold=bold)
            placed += f"{blank}{text}" if column.to_the_right else f"{text}{blank if number < last else ''}"
            placed += GAP if number < last else ""
        yield placed


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The width of each column; None where they do not fit, not even with headings wrapped and names shortened."""
    widest = [max((cells(row[number]) for row in rows), default=0) for number in range(len(columns))]
    natural = [max(cells(column.heading), width) for column, width in zip(columns, widest, strict=True)]
    if sum(natural) <= room:
        return natural
    wanted, least = [], []
    for number, column in enumerate(columns):
        heading = _longest_word(column.heading)
        wanted.append(max(heading, widest[number]))
        needed = widest[number]
        if column.flexible:
            needed = min(LEAST, widest[number] if column.kind is Kind.NAME else _longest_of(rows, number))
        least.append(max(heading, needed))
    if sum(least) > room:
        return None
    # Who wants more gets more, but not in proportion: nobody more than it wants.
    for level in range(10 * room, 0, -1):
        widths = [
            max(low, min(want, int(level / 10 * want**0.5))) for low, want in zip(least, wanted, strict=True)
        ]
        if sum(widths) <= room:
            return widths
    return least


def _longest_of(rows: Sequence[Sequence[str]], number: int) -> int:
    return max((_longest_word(row[number]) for row in rows), default=0)


def _longest_word(text: str) -> int:
    return max(map(cells, text.split()), default=0)


def _listed(
    columns: Sequence[Column],
    texts: Sequence[Sequence[str]],
    tones: Sequence[Sequence[Tone | None]],
    room: int,
) -> Iterator[str]:
    """What is too wide for a table: each row as a list of its cells."""
    wide = max(cells(column.heading) for column in columns)
    for position, (row, row_tones) in enumerate(zip(texts, tones, strict=True)):
        if position:
            yield ""
        for column, text, tone in zip(columns, row, row_tones, strict=True):
            name = styled(f"{column.heading:<{wide}}", sys.stdout, bold=True)
            for number, line in enumerate(wrapped(text, max(room - wide - len(GAP), LEAST), fold=True)):
                yield f"{' ' * wide if number else name}{GAP}{styled(line, sys.stdout, tone=tone)}"
