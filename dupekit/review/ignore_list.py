"""Entries of the ignore list, and the list as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

from dupekit.errors import UsageError
from dupekit.files.names import escape, unescape

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
    """The list as CSV with a heading, as RFC 4180 has it but for line ends, which are plain newlines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((entry.digest, entry.label, entry.path, entry.added) for entry in entries)
    return text.getvalue()


def from_csv(content: bytes, name: str) -> list[Ignored]:
    """Reads what `to_csv` wrote, also as a spreadsheet saves it: with a byte order mark, CRLF, semicolons, tabs.

    `name` is for messages.

    The columns digest and label are needed, path and added may be missing or empty, their order is free.
    Raises UsageError, naming the line, where anything is wrong: then nothing of the file is to be used.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _wrong(name, line, "it is not UTF-8", hint="Save it as CSV in UTF-8.") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    entries: list[Ignored] = []
    lines: dict[tuple[str, str], int] = {}
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        _check_heading(heading, name)
        for row in reader:
            if not any(row):  # an empty line, which spreadsheets leave at the end
                continue
            if len(row) != len(heading):
                raise _wrong(name, reader.line_num, f"it has {len(row)} cells, the heading {len(heading)}")
            entry = _entry(dict(zip(heading, row, strict=True)), name, reader.line_num)
            key = (entry.digest, entry.label)
            if key in lines:
                raise _wrong(
                    name, reader.line_num, f"digest and label stand in line {lines[key]} already",
                    hint="Take one of the two lines out.",
                )  # fmt: skip
            lines[key] = reader.line_num
            entries.append(entry)
    except csv.Error as error:
        raise _wrong(name, max(reader.line_num, 1), f"it is not CSV ({error})") from None
    return entries


def _check_heading(heading: list[str], name: str) -> None:
    if len(set(heading)) != len(heading) or not {"digest", "label"} <= set(heading) <= set(COLUMNS):
        raise _wrong(
            name, 1, f"the heading is {','.join(heading)!r}",
            hint=f"It shall be {','.join(COLUMNS)}, separated by commas, semicolons or tabs; path and added may be left out.",
        )  # fmt: skip


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
