"""Tables as CSV, and as spreadsheets save them: with a byte order mark, CRLF, semicolons or tabs, empty lines.

A cell that a spreadsheet would take for a formula, such as the class `=x`, is written with a quote before it, `'=x`, and
read without: so is one that has such quotes already, so that what is read is always what was meant.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_QUOTED = re.compile(r"'+[=+\-@\t\r]")


class NoTable(Exception):
    """What is wrong with a file that is no such table: each caller says of which, and what that means."""

    def __init__(self, line: int, why: str, *, hint: str = "") -> None:
        super().__init__(f"line {line}: {why}")
        self.line, self.why, self.hint = line, why, hint


@dataclass(frozen=True, slots=True)
class Row:
    """One row below the heading."""

    line: int
    """In the file, where the first is 1; of a row of several lines the last."""
    cells: dict[str, str]
    """By column."""
    fault: str | None
    """Why it is no row of this table: it has another number of cells than the heading."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row, whatever the heading."""

    line: int
    """As of `Row`."""
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """All of a file."""

    heading: list[str]
    """Without spaces around; any names, also none, or one twice."""
    rows: list[Line]
    """Without empty ones, which is what spreadsheets leave at the end."""


def table_text(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, as RFC 4180 has it but for line ends, which are plain newlines."""
    text = io.StringIO()
    write_table(text, heading, rows)
    return text.getvalue()


def write_table(out: TextIO, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The same, row by row."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_harmless, heading))
    writer.writerows(map(_harmless, row) for row in rows)


def _harmless(cell: object) -> str:
    text = str(cell)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def meant(cell: str) -> str:
    """What a cell stood for when it was written."""
    return cell[1:] if _QUOTED.match(cell) else cell


def read_table(content: bytes, *, columns: Sequence[str], needed: Iterable[str]) -> list[Row]:
    """The rows of a table whose heading names the columns in any order, those that are needed at least.

    Raises NoTable where it is none. A row with a fault is returned: who reads says whether others are named with it.
    """
    table = read_any_table(content)
    heading = table.heading
    _check(heading, columns, needed)
    rows = []
    for row in table.rows:
        fits = len(row.cells) == len(heading)
        fault = None if fits else f"it has {len(row.cells)} cells, the heading {len(heading)}"
        rows.append(Row(row.line, dict(zip(heading, row.cells, strict=False)), fault))
    return rows


def read_any_table(content: bytes) -> Table:
    """A table whose columns are not known before. Raises NoTable where it is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NoTable(line, "it is not UTF-8", hint="Save it as CSV in UTF-8.") from None
    delimiter = delimiter_of(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        rows = [Line(reader.line_num, [*map(meant, cells)]) for cells in reader if any(cells)]
    except csv.Error as error:
        raise NoTable(max(reader.line_num, 1), f"it is not CSV ({error})") from None
    return Table(heading, rows)


def delimiter_of(first_line: str) -> str:
    """What stands between cells, of a comma, a semicolon and a tab."""
    return max(",;\t", key=first_line.count)


def _check(heading: Sequence[str], columns: Sequence[str], needed: Iterable[str]) -> None:
    faults = []
    if missing := [name for name in needed if name not in heading]:
        faults.append(f"no column {', '.join(missing)}")
    faults += [f"unknown column {name!r}" for name in heading if name not in columns]
    faults += [f"{name} stands twice" for name in columns if heading.count(name) > 1]
    if faults:
        found = ",".join(heading)
        raise NoTable(
            1,
            f"the heading is {found!r}: {'; '.join(faults)}",
            hint=f"The columns are {','.join(columns)}, separated by commas, semicolons or tabs.",
        )
