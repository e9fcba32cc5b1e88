"""What a worker tells its executor: one JSON object a line, written and read as these classes. And what it is told: a list of
job folders a line; an empty one is the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from dupekit.files.json_text import parse_json
from dupekit.plugin.checks import Told

FLAG = "--messages"
"""Asks a worker for them. When its jobs are done it then waits for more, and takes the end of its stdin for its parent's."""

STARTING = "starting the worker"
"""The stage that begins with its executor, and ends with its first message."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has its result."""

    folder: str
    """As the worker was given it."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Logged:
    """What a plugin logged under "dupekit"."""

    logger: str
    level: int
    text: str


Message = Told | Ended | Logged

_KINDS: dict[str, type[Told] | type[Ended] | type[Logged]] = {"told": Told, "ended": Ended, "logged": Logged}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def write(message: Message) -> str:
    """One line, with its end."""
    return json.dumps({"kind": _NAMES[type(message)], **asdict(message)}) + "\n"


def write_order(folders: Iterable[str]) -> str:
    """One line, with its end."""
    return json.dumps(list(folders)) + "\n"


def parse_order(line: bytes) -> list[str]:
    return [str(folder) for folder in parse_json(line)]


def parse(line: str) -> Message | None:
    """None for what is no message, such as half a line of a worker that died."""
    try:
        content = parse_json(line)
        return _KINDS[content.pop("kind")](**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
