"""Predictions as CSV: a row an image and a column a class; or a row for each image and class."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dupekit.exchange.predicted import Predicted, refused
from dupekit.files.spreadsheet import delimiter_of, meant

_LONG = ("path", "class", "probability")
_ROWS = 4096


def read_csv(file: Path) -> Predicted:
    """Wide: the first column names the image, each other one a class. Long: columns path, class and probability.

    As spreadsheets save it: with a byte order mark, semicolons and decimal commas, tabs, empty lines at the end.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            first = opened.readline()
            delimiter = delimiter_of(first)
            opened.seek(0)
            reader = csv.reader(opened, delimiter=delimiter, strict=True)
            heading = [cell.strip() for cell in next(reader, [])]
            rows = _Rows(file, reader, len(heading), comma=delimiter != ",")
            if sorted(cell.lower() for cell in heading) == sorted(_LONG):
                return _long(file, [cell.lower() for cell in heading], rows)
            return _wide(file, heading, rows)
    except UnicodeDecodeError:
        raise refused(str(file), "is not UTF-8", hint="Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise refused(str(file), f"is no CSV ({error})") from None


class _Rows:
    """The rows below the heading, and their numbers."""

    def __init__(self, file: Path, reader: Iterator[list[str]], width: int, *, comma: bool) -> None:
        self.file, self.reader, self.width, self.comma = file, reader, width, comma
        self.line = 1

    def __iter__(self) -> Iterator[list[str]]:
        for cells in self.reader:
            self.line = self.reader.line_num  # type: ignore[attr-defined]
            if any(cells):
                if len(cells) != self.width:
                    raise refused(
                        str(self.file),
                        f"has {len(cells)} cells in line {self.line}, and the heading {self.width}",
                    )
                yield cells

    def numbers(self, cells: list[list[str]]) -> NDArray[np.float32]:
        if self.comma:
            cells = [[cell.replace(",", ".") for cell in row] for row in cells]
        try:
            return np.array(cells).astype(np.float32)
        except ValueError:
            wrong = next(cell for row in cells for cell in row if not _is_number(cell))
            raise refused(
                str(self.file),
                f"has {wrong[:40]!r} where a probability is expected, in line {self.line} or shortly before",
                hint="The first column names the image, each other one a class; or there are columns path, class and probability.",
            ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _wide(file: Path, heading: list[str], rows: _Rows) -> Predicted:
    if len(heading) < 2:
        raise refused(
            str(file),
            f"has no columns of classes: its first line is {','.join(heading)[:80]!r}",
            hint="The first column names the image, each other one a class.",
        )
    images: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    block: list[list[str]] = []
    for cells in rows:
        images.append(meant(cells[0]))
        block.append(cells[1:])
        if len(block) == _ROWS:
            blocks.append(rows.numbers(block))
            block = []
    if block:
        blocks.append(rows.numbers(block))
    empty = np.zeros((0, len(heading) - 1), np.float32)
    classes = [meant(cell) for cell in heading[1:]]
    return Predicted(str(file), images, classes, np.concatenate(blocks) if blocks else empty)


def _long(file: Path, heading: list[str], rows: _Rows) -> Predicted:
    """What is not named has the probability 0."""
    path, label, probability = (heading.index(name) for name in _LONG)
    images: dict[str, int] = {}
    classes: dict[str, int] = {}
    at: dict[tuple[int, int], str] = {}
    for cells in rows:
        place = (
            images.setdefault(meant(cells[path]), len(images)),
            classes.setdefault(meant(cells[label].strip()), len(classes)),
        )
        if place in at:
            raise refused(
                str(file),
                f"says twice, again in line {rows.line}, how probable {cells[label]} is for {cells[path]}",
            )
        at[place] = cells[probability]
    found = np.zeros((len(images), len(classes)), np.float32)
    if at:
        found[tuple(np.array(list(at)).T)] = rows.numbers([list(at.values())])[0]
    return Predicted(str(file), list(images), list(classes), found)
