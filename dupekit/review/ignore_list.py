"""Entries of the ignore list, and the list as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dupekit.errors import UsageError
from dupekit.files.names import escape, unescape
from dupekit.files.spreadsheet import NoTable, read_table, table_text

COLUMNS = ("digest", "label", "path", "added")
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Ignored:
    """An image that is never flagged under this label, wherever it lies and whatever it is called."""

    digest: str
    """SHA-256 of the content, 64 hexadecimal digits."""
    label: str
    """Escaped."""
    path: str
    """Where the image lay when it was added, escaped: for people, nothing goes by it."""
    added: str
    """UTC, ISO 8601."""


def to_csv(entries: Iterable[Ignored]) -> str:
    """The list as CSV with a heading."""
    return table_text(COLUMNS, ((entry.digest, entry.label, entry.path, entry.added) for entry in entries))


def from_csv(content: bytes, name: str) -> list[Ignored]:
    """Reads what `to_csv` wrote, also as a spreadsheet saves it. `name` is for messages.

    The columns digest and label are needed, path and added may be missing or empty, their order is free.
    Raises UsageError, naming the line, where anything is wrong: then nothing of the file is to be used.
    """
    try:
        rows = read_table(content, columns=COLUMNS, needed=("digest", "label"))
    except NoTable as error:
        raise _wrong(name, error.line, error.why, hint=error.hint) from None
    entries: list[Ignored] = []
    lines: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.fault:
            raise _wrong(name, row.line, row.fault)
        entry = _entry(row.cells, name, row.line)
        first = lines.setdefault((entry.digest, entry.label), row.line)
        if first != row.line:
            raise _wrong(
                name, row.line, f"digest and label stand in line {first} already",
                hint="Take one of the two lines out.",
            )  # fmt: skip
        entries.append(entry)
    return entries


def _entry(row: dict[str, str], name: str, line: int) -> Ignored:
    digest, label, path = row["digest"].strip().lower(), row["label"], row.get("path", "")
    if not _DIGEST.fullmatch(digest):
        raise _wrong(
            name, line, f"{digest!r} is no digest",
            hint="A digest is the SHA-256 of the image file: 64 hexadecimal digits.",
        )  # fmt: skip
    if not label.strip() or "/" in label:
        raise _wrong(name, line, f"{label!r} is no label", hint="A label is the name of a class folder.")
    for text in (label, path):
        if escape(unescape(text)) != text:
            raise _wrong(
                name, line, f"{text!r} is not escaped text",
                hint=r"Write a backslash as \\ and a newline as \n, as `dupekit ignore export` does.",
            )  # fmt: skip
    return Ignored(digest, label, path, row.get("added", ""))


def _wrong(name: str, line: int, what: str, *, hint: str = "") -> UsageError:
    return UsageError(
        f"{name}, line {line}: {what}. Nothing was imported.",
        hint=hint or "Make such a file with `dupekit ignore export`.",
    )
