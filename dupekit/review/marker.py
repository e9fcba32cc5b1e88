"""What a review tree brings back in its marker folder: an event log, and perhaps signs that it was edited.

Nothing here decides a verdict. The project's own manifest is believed; what the tree carries is compared with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.write import read_lines
from dupekit.review.manifest import MARKER, Manifest, read_manifest

EVENTS = "events.jsonl"
Event = tuple[str, str, str, str]
"""Time, kind, path in the tree and target, both escaped."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What lay in the marker folder."""

    events: list[Event]
    """What a watcher wrote there on a computer without the project."""
    remarks: list[str]
    """What is not as it was exported, for the person who collects."""
    seen: frozenset[str] | None = None
    """What after.txt lists, as a watcher there saw it last; None where there is none."""


def read_marker(tree: Path, manifest: Manifest) -> Brought:
    """Reads a tree's marker folder against the project's own manifest.

    Raises TreeUnavailable where the tree is of another export: by this manifest, its files would look deleted.
    """
    events, remarks = _events(tree / MARKER / EVENTS)
    return Brought(events, _edits(tree, manifest) + remarks, _seen(tree / MARKER / "after.txt"))


def _edits(tree: Path, manifest: Manifest) -> list[str]:
    believed = "the project's own is believed."
    remarks = []
    try:
        carried = read_manifest(tree / MARKER / "manifest.json")
    except TreeUnavailable as error:
        remarks.append(f"{error.message.rstrip('.')}; {believed}")
    else:
        if carried.export != manifest.export:
            raise TreeUnavailable(
                f"{tree} holds the tree of another export ({carried.export[:8]}, not {manifest.export[:8]}).",
                hint="Name the tree you mean: dupekit collect TREE. Nothing was recorded.",
            )
        if carried != manifest:
            remarks.append(f"{tree / MARKER / 'manifest.json'} was edited; {believed}")
    before = tree / MARKER / "before.txt"
    try:
        listed = [line.removesuffix("\r") for line in read_lines(before)]  # a transfer as text adds them
    except (OSError, ValueError) as error:
        remarks.append(f"{before} cannot be read ({error}); {believed}")
    else:
        if sorted(listed) != sorted(file.path for file in manifest.files):
            remarks.append(f"{before} was edited; {believed}")
    return remarks


def _seen(after: Path) -> frozenset[str] | None:
    try:
        return frozenset(line.removesuffix("\r") for line in read_lines(after))
    except (OSError, ValueError):  # nobody watched there; and nothing depends on it
        return None


def _events(log: Path) -> tuple[list[Event], list[str]]:
    """The events of a log, and remarks. A last line that was being written when the tree was packed is left out."""
    if not log.is_file():  # nobody watched
        return [], []
    try:
        lines = log.read_bytes().split(b"\n")
    except OSError as error:
        return [], [f"{log} cannot be read ({error.strerror}); what was seen there is not recorded."]
    events, bad = [], []
    for number, line in enumerate(lines, 1):
        event = _event(line)
        if event is not None:
            events.append(event)
        elif line.strip() and number < len(lines):
            bad.append(number)
    if not bad:
        return events, []
    return events, [f"{log}: {len(bad)} lines are no events and left out, the first is line {bad[0]}."]


def _event(line: bytes) -> Event | None:
    try:
        row = json.loads(line)
        event = (row["at"], row["kind"], row["path"], row.get("target", ""))
        for text in event:
            text.encode()  # a lone surrogate, which JSON can name, is no text
        datetime.fromisoformat(row["at"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return event if row["kind"] and row["path"] else None
