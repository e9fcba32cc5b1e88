"""Events of a review tree, and the log of them: events.jsonl, one JSON object a line. They are a hint, and decide nothing.

One such file lies in the marker folder of a tree that was watched without a project; a project keeps its own.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dupekit.files.json_text import parse_json
from dupekit.files.regular import open_regular, read_regular

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
    from_tree: bool = False
    """In a project's log: whether a tree's own log had it, and not the project's watcher. In the file: source "tree"."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """What a log holds."""

    events: list[Event]
    remarks: list[str]
    """What could not be read of it, for people."""


def event_lines(events: Iterable[Event]) -> bytes:
    """What a log holds of these events."""
    return b"".join(_line(event) for event in events)


def append_events(log: Path, events: Iterable[Event]) -> None:
    """Adds events to a log, which is made where there is none. Raises OSError where a link or no file lies there."""
    lines = event_lines(events)
    with open_regular(log, "a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() not in (b"", b"\n"):  # half a line, of a watcher that was killed or a full disk
            lines = b"\n" + lines
        while (
            lines
        ):  # at once if it can be: a watcher and a collect may add to a project's log at the same time
            lines = lines[os.write(file.fileno(), lines) :]


def pick_up_events(log: Path, brought: Iterable[Event]) -> int:
    """Adds to a project's log what a tree's own holds and was not picked up before; returns how many that were.

    Times are whole seconds, so equal events are counted, not told apart.
    """
    known = Counter(event for event in read_events(log).events if event.from_tree)
    new = []
    for event in (replace(event, from_tree=True) for event in brought):
        if known[event]:
            known[event] -= 1
        else:
            new.append(event)
    if new:
        append_events(log, new)
    return len(new)


def read_events(log: Path) -> EventLog:
    """The events of a log; none where there is none. A last line that was still being written is left out."""
    try:
        lines = read_regular(log).split(b"\n")
    except FileNotFoundError:
        return EventLog([], [])
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


def _line(event: Event) -> bytes:
    row = {"at": event.at, "kind": event.kind, "path": event.path or "", "target": event.target or ""}
    return json.dumps({**row, "source": "tree"} if event.from_tree else row).encode() + b"\n"


def _event(line: bytes) -> Event | None:
    try:
        row = parse_json(line)
        texts = row["at"], row["kind"], row["path"], row.get("target", "")
        for text in texts:
            text.encode()  # a lone surrogate, which JSON can name, is no text
        datetime.fromisoformat(row["at"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    at, kind, path, target = texts
    return Event(at, kind, path or None, target or None, row.get("source") == "tree") if kind else None
