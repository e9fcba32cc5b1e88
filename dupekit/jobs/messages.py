"""What a worker tells its executor: one JSON object a line, written and read as these classes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from dupekit.plugin.checks import Told

FLAG = "--messages"
"""Asks a worker for them. It then takes the end of its stdin for its parent's."""

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


def parse(line: str) -> Message | None:
    """None for what is no message, such as half a line of a worker that died."""
    try:
        content = json.loads(line)
        return _KINDS[content.pop("kind")](**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
