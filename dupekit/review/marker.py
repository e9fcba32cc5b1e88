"""What a review tree brings back in its marker folder: an event log, and perhaps signs that it was edited.

Nothing here decides a verdict. The project's own manifest is believed; what the tree carries is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.write import read_lines
from dupekit.review.event_log import EVENTS, Event, read_events
from dupekit.review.manifest import MARKER, Manifest, read_manifest


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
    log = read_events(tree / MARKER / EVENTS)
    return Brought(log.events, _edits(tree, manifest) + log.remarks, _seen(tree / MARKER / "after.txt"))


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
