"""Events of a review tree, and the log of them: events.jsonl, one JSON object a line. They are a hint, and decide nothing.

One such file lies in the marker folder of a tree that was watched without a project; a project keeps its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

EVENTS = "events.jsonl"


@dataclass(frozen=True, slots=True)
class Event:
    """What was seen to happen in a tree."""

    at: str
    """UTC, ISO 8601."""
    kind: str
    """"deleted", "moved", "created", "written" ...; "overflow" or "warning" where the system says that it lost some."""
    path: str | None
    """In the tree, escaped; None where no one path is meant."""
    target: str | None = None
    """Where it was moved to, escaped."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """What a log holds."""

    events: list[Event]
    remarks: list[str]
    """What could not be read of it, for people."""


def append_events(log: Path, events: Iterable[Event]) -> None:
    """Adds events to a log, which is made where there is none."""
    with log.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() not in (b"", b"\n"):  # half a line, of a watcher that was killed or a full disk
            file.write(b"\n")
        for event in events:
            row = {
                "at": event.at,
                "kind": event.kind,
                "path": event.path or "",
                "target": event.target or "",
            }
            file.write(json.dumps(row).encode() + b"\n")


def read_events(log: Path) -> EventLog:
    """The events of a log; none where there is none. A last line that was still being written is left out."""
    if not log.is_file():
        return EventLog([], [])
    try:
        lines = log.read_bytes().split(b"\n")
    except OSError as error:
        return EventLog(
            [], [f"{log} cannot be read ({error.strerror}); what was seen there is not recorded."]
        )
    events, bad = [], []
    for number, line in enumerate(lines, 1):
        event = _event(line)
        if event is not None:
            events.append(event)
        elif line.strip() and number < len(lines):
            bad.append(number)
    if not bad:
        return EventLog(events, [])
    remark = f"{log}: {len(bad)} lines are no events and left out, the first is line {bad[0]}."
    return EventLog(events, [remark])


def _event(line: bytes) -> Event | None:
    try:
        row = json.loads(line)
        texts = row["at"], row["kind"], row["path"], row.get("target", "")
        for text in texts:
            text.encode()  # a lone surrogate, which JSON can name, is no text
        datetime.fromisoformat(row["at"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    at, kind, path, target = texts
    return Event(at, kind, path or None, target or None) if kind else None
