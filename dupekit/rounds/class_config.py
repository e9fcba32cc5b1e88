"""Class configuration: a class view as a table, a row a class, as spreadsheets write it.

The class stands in the column `class`, else in the first one; every other column is a grouping: new names, of which one column is
chosen. A class whose new name is empty is left out; those of one new name are trained as one class. As in the files of
ifcb_classifier, `1` keeps a class under its own name and `0` leaves it out, unless the dataset has a class that is called so.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dupekit.errors import UsageError
from dupekit.files.names import escape, same_name_key
from dupekit.files.spreadsheet import Line, NoTable, Table, read_any_table
from dupekit.rounds.class_view import ClassView
from dupekit.rounds.in_words import counted

_CLASS = "class"
_KEEP, _LEAVE_OUT = "1", "0"
_NAMED = 20
"""Faults that a message names."""
_NEAR = 0.7


def read_class_config(
    content: bytes, name: str, *, column: str | None, images: Mapping[str, int]
) -> ClassView:
    """Reads a class view from a table; `name` is for messages.

    `images` says of each class of the dataset, escaped, how many images it has; each that has some needs a row. `column` chooses
    the grouping, where there are several.
    Raises UsageError naming everything that is wrong, with lines and classes: then nothing of the table is to be used.
    """
    try:
        table = read_any_table(content)
    except NoTable as error:
        raise UsageError(f"{name}, line {error.line}: {error.why}.", hint=error.hint or _HINT) from None
    at_class, at_new = _columns(table, name, column)
    reading = _Reading(_Names(images), {}, {}, [])
    for row in table.rows:
        if any(cell.strip() for cell in row.cells):
            reading.take(row, len(table.heading), at_class, at_new)
    faults = reading.faults + [
        f"the class {label!r} has no row ({counted(count, 'image')})"
        for label, count in sorted(images.items())
        if count and label not in reading.lines
    ]
    if faults:
        more = len(faults) - _NAMED
        shown = [*faults[:_NAMED], *([f"and {more:,} more"] if more > 0 else [])]
        heading = table.heading[at_class]
        headless = reading.names.known(heading) if heading else None
        raise UsageError(
            "\n- ".join([f"{name} cannot be used, by its column {table.heading[at_new]!r}:", *shown]),
            hint=f"Its first line is taken for the heading; put one above it: {_CLASS},new name" if headless else _HINT,
        )  # fmt: skip
    return ClassView({label: one.name for label, one in sorted(reading.lines.items())}, table.heading[at_new])


_HINT = (
    f"A class configuration is CSV in UTF-8 with a heading, such as {_CLASS},new name, and a row for each class of the dataset;"
    " an empty new name leaves the class out."
)


@dataclass(frozen=True, slots=True)
class _New:
    """What the row of a class says."""

    name: str | None
    """None: it is left out."""
    line: int


class _Names:
    """The dataset's classes, found also where spaces or the Unicode form differ."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._alike: dict[str, list[str]] = {}
        for label in labels:
            self._alike.setdefault(_spaced(label), []).append(label)
        self._labels = {label for alike in self._alike.values() for label in alike}
        self._by_key = {same_name_key(label): label for label in self._labels}

    def known(self, cell: str) -> str | None:
        """The class that a cell means, None where there is none."""
        for text in (cell, escape(cell)):
            if text in self._labels:
                return text
        alike = self._alike.get(_spaced(cell)) or self._alike.get(_spaced(escape(cell.strip()))) or []
        return alike[0] if len(alike) == 1 else None

    def near(self, cell: str) -> str | None:
        """One that may have been meant."""
        found = difflib.get_close_matches(same_name_key(_spaced(cell)), self._by_key, n=1, cutoff=_NEAR)
        return self._by_key[found[0]] if found else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the rows have said so far."""

    names: _Names
    lines: dict[str, _New]
    """By the dataset's class."""
    new: dict[str, _New]
    """The first row of each new name, by `same_name_key`."""
    faults: list[str]

    def take(self, row: Line, width: int, at_class: int, at_new: int) -> None:
        where = f"line {row.line}"
        cell = "".join(row.cells[at_class : at_class + 1])
        label = self.names.known(cell)
        if not cell.strip():
            self.faults.append(f"{where}: it names no class")
            return
        if label is None:
            near = self.names.near(cell)
            meant = f"; did you mean {near!r}?" if near else ""
            self.faults.append(f"{where}: the dataset has no class {_spaced(cell)!r}{meant}")
            return
        fits = len(row.cells) >= width and not any(cell.strip() for cell in row.cells[width:])
        if not fits:
            self.faults.append(
                f"{where}, of the class {label!r}: it has {len(row.cells)} cells, the heading {width}"
            )
        new = self._new_name(row.cells[at_new], label) if fits else None
        first = self.lines.setdefault(label, _New(new, row.line))
        if first.line != row.line:
            self.faults.append(f"{where}: the class {label!r} stands in line {first.line} already")
        elif first.name is not None:
            self._compare(first.name, row.line)

    def _new_name(self, cell: str, label: str) -> str | None:
        new = _spaced(cell)
        if not new:
            return None
        known = self.names.known(new)
        if known is None and new in (_KEEP, _LEAVE_OUT):
            return label if new == _KEEP else None
        return known or escape(new)

    def _compare(self, new: str, line: int) -> None:
        """Two new names that look alike are hardly meant to be two classes, unless both are the dataset's own."""
        first = self.new.setdefault(same_name_key(new), _New(new, line))
        if first.name != new and not (self.names.known(new) and self.names.known(first.name or "")):
            self.faults.append(
                f"line {line}: the new name {new!r} differs from {first.name!r} in line {first.line} only in upper and lower case"
                " or Unicode form"
            )


def _columns(table: Table, name: str, column: str | None) -> tuple[int, int]:
    """Where the classes and the new names stand."""
    of_class = [at for at, heading in enumerate(table.heading) if _key(heading) == _CLASS]
    if len(of_class) > 1:
        raise UsageError(f"{name} has {len(of_class)} columns that are called {_CLASS}.", hint=_HINT)
    at_class = of_class[0] if of_class else 0
    others = [
        at
        for at, heading in enumerate(table.heading)  # spreadsheets leave columns in which nothing stands
        if at != at_class and (heading or any("".join(row.cells[at : at + 1]).strip() for row in table.rows))
    ]
    headings = [table.heading[at] for at in others]
    if not others:
        raise UsageError(f"{name} has no column of new names beside that of the classes.", hint=_HINT)
    if column is None:
        if len(others) > 1:
            raise UsageError(
                f"{name} has several columns of new names: {_listed(headings)}.",
                hint="Choose one with --class-column.",
            )
        return at_class, others[0]
    found = [at for at in others if table.heading[at] == column.strip()]
    found = found or [at for at in others if _key(table.heading[at]) == _key(column)]
    if len(found) > 1:
        raise UsageError(f"{name} has {len(found)} columns that are called {column!r}.", hint=_HINT)
    if not found:
        keys = {_key(heading): heading for heading in headings}
        near = difflib.get_close_matches(_key(column), keys, n=1)
        meant = f"Did you mean {keys[near[0]]!r}? " if near else ""
        raise UsageError(
            f"{name} has no column of new names that is called {column!r}.",
            hint=f"{meant}Its columns of new names are: {_listed(headings)}.",
        )
    return at_class, found[0]


def _listed(headings: Sequence[str]) -> str:
    return ", ".join(map(repr, headings))


def _key(heading: str) -> str:
    """Equal for headings that differ in case, spaces, underscores or hyphens."""
    return re.sub(r"[\s_-]", "", unicodedata.normalize("NFC", heading)).casefold()


def _spaced(cell: str) -> str:
    """With single spaces within, none around, and composed letters."""
    return " ".join(unicodedata.normalize("NFC", cell).split())
