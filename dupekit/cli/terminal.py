"""What a terminal takes: its width, its characters and colours; text wrapped and shortened to fit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import TextIO

import typer

NARROWEST = 20
"""Fewer columns are taken for these."""


class Tone(StrEnum):
    """What a colour means. The value is the colour."""

    GOOD = "green"
    BAD = "red"
    WARNING = "yellow"


def width_of(stream: TextIO) -> int:
    """The columns of the terminal behind a stream, or what COLUMNS says."""
    said = os.environ.get("COLUMNS", "")
    try:
        columns = int(said) if said.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(columns, NARROWEST) if columns else 80


def styled(text: str, stream: TextIO, *, tone: Tone | None = None, bold: bool = False) -> str:
    """The text in colour or bold, where the stream is a terminal that shows these. NO_COLOR, as https://no-color.org
    has it, leaves the bold."""
    tone = None if os.environ.get("NO_COLOR") else tone
    if not stream.isatty() or os.environ.get("TERM") == "dumb" or not (text and (tone or bold)):
        return text
    return typer.style(text, fg=tone, bold=bold or None)


def takes(stream: TextIO, characters: str) -> bool:
    """Whether the encoding of a stream has these characters."""
    encoding = getattr(
        stream, "rich_proxied_file", stream
    ).encoding  # below progress bars rich stands before it
    try:
        characters.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def cells(text: str) -> int:
    """How many columns a text takes: letters of some scripts take two each."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, width: int, ellipsis: str = "…") -> str:
    """A name in so many columns: its beginning and, longer, its end, for the end tells files apart."""
    if cells(text) <= width:
        return text
    left = width - len(ellipsis)
    head = _first(text, left * 2 // 5)
    tail = _first(text[::-1], left - cells(head))[::-1]
    return f"{head}{ellipsis}{tail}"


def wrapped(text: str, width: int, *, fold: bool = False) -> list[str]:
    """Lines of at most so many columns, broken between words. An indent or dash at a line's beginning is kept below it.

    A word that is longer stands by itself, as a path that somebody copies must; with `fold` it is broken as well, after
    a separator of names if it has one.
    """
    return [line for whole in text.split("\n") for line in _wrapped(whole, width, fold=fold)]


def _wrapped(text: str, width: int, *, fold: bool) -> Iterator[str]:
    if cells(text) <= width:
        yield text
        return
    indent = re.match(r" *(- )?", text)
    line = indent.group() if indent else ""
    below = " " * len(line)
    empty = True
    for word in text[len(line) :].split():
        pieces = _pieces(word, width - len(below)) if fold else [word]
        for number, piece in enumerate(pieces):
            gap = "" if empty or number else " "
            if not empty and cells(line) + len(gap) + cells(piece) > width:
                yield line
                line, gap = below, ""
            line, empty = f"{line}{gap}{piece}", False
    yield line


def _pieces(word: str, width: int) -> list[str]:
    """A word in parts of at most so many columns, cut after a separator where there is one."""
    if cells(word) <= width:
        return [word]
    pieces = []
    for part in re.findall(r"[^_/.,:-]*[_/.,:-]+|[^_/.,:-]+", word):
        left = part
        while cells(left) > width:
            pieces.append(_first(left, width) or left[0])
            left = left[len(pieces[-1]) :]
        if left:
            pieces.append(left)
    return pieces


def _first(text: str, width: int) -> str:
    """As many of the first characters as go into so many columns."""
    if text.isascii():
        return text[: max(width, 0)]
    taken = 0
    for number, character in enumerate(text):
        taken += cells(character)
        if taken > width:
            return text[:number]
    return text
