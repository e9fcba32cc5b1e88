"""File-system events -> reconcile: follows a review tree while a technician works on it.

Events only say that it is worth looking. What has happened is always found by comparing a fresh listing
with the manifest, so lost, doubled or invented events (all three exist) change nothing.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from dupekit.errors import LedgerError, TreeUnavailable
from dupekit.files import digest_file, escape, exclusive, now, real_path, write_lines
from dupekit.manifest import MARKER, Manifest
from dupekit.review import Listing, Review, judge, settled_listing

QUIET_S, QUIET_AT_MOST_S = 0.3, 2.0
"""After an event: look when this long nothing more came, but no later than the second figure."""
POLL_S, POLL_NETWORK_S = 30.0, 5.0
"""Without events, look this often; network file systems report nothing of what others do."""

_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.rclone", "davfs")

Event = tuple[str, str, str, str]
"""Time, kind ("deleted", "moved", "created" …), path in the tree and target, both escaped."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tree after a look at it."""

    review: Review | None
    """None while the tree cannot be read."""
    trouble: str
    """Why it cannot be read, or why events do not work; else empty."""
    events: Sequence[Event]
    """What was heard since the last look: a hint, perhaps incomplete."""
    last: bool = False
    """Whether this is the look taken at the end."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a watcher keeps what it finds."""

    after: Path
    record: Callable[[Sequence[Event]], None]


def tree_journal(tree: Path) -> Journal:
    """A journal inside the tree itself, for a computer that has no project."""

    def record(events: Sequence[Event]) -> None:
        with (tree / MARKER / "events.jsonl").open("a", encoding="utf-8") as file:
            for at, kind, path, target in events:
                file.write(json.dumps({"at": at, "kind": kind, "path": path, "target": target}) + "\n")

    return Journal(tree / MARKER / "after.txt", record)


def follow(
    tree: Path,
    manifest: Manifest,
    journal: Journal,
    *,
    stop: threading.Event,
    poll_s: float | None = None,
) -> Iterator[Snapshot]:
    """Yields the tree's state at the start, after every change, and once more when `stop` is set.

    after.txt is current before a snapshot is yielded. Raises LockedError where the tree has a watcher
    already, and TreeUnavailable where it cannot be read at the start; later it waits until it can.
    """
    watcher = _Watcher(tree, manifest)
    first = watcher.look()
    if first.review is None:
        raise TreeUnavailable(first.trouble)
    every_s = poll_s or (POLL_NETWORK_S if is_network(tree) else POLL_S)
    with exclusive(tree / MARKER / "watch.lock", "watch"):
        try:
            deaf = watcher.listen()
            current = watcher.look()  # what happened before events came
            events: list[Event] = []
            previous: _Look | None = None
            while True:
                last = stop.is_set()
                if events or last or current != previous:
                    snapshot = Snapshot(current.review, current.trouble or deaf, events, last)
                    problem = _keep(snapshot, journal)
                    yield replace(snapshot, trouble=problem) if problem else snapshot
                    previous = None if problem else current
                if last:
                    return
                events = watcher.wait(every_s, stop)
                gone = current.review is None
                current = watcher.look()
                if gone != (current.review is None):
                    watcher.unlisten()
                    if gone:  # the tree came back: events need a new start
                        deaf = watcher.listen()
        finally:
            watcher.unlisten()


def is_network(path: Path) -> bool:
    """Whether a path lies on a network file system, by the type of its mount. False where unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    real = path.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, point, fstype, *_ = line.split(" ")
        # The kernel writes a space as \040, and likewise tab, newline and backslash.
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point))
        if real.is_relative_to(place) and len(place.parts) > best:
            best, kind = len(place.parts), fstype
    return kind.startswith(_NETWORK)


def _keep(snapshot: Snapshot, journal: Journal) -> str:
    """Writes the events and after.txt; returns why that failed, as where a share has just gone away."""
    try:
        if snapshot.events:
            journal.record(snapshot.events)
        if snapshot.review is not None:
            write_lines(journal.after, [v.now_at for v in snapshot.review.verdicts if v.now_at])
    except (OSError, LedgerError) as error:
        return f"after.txt could not be written: {error}; will be tried again"
    return ""


@dataclass(frozen=True, slots=True)
class _Look:
    review: Review | None
    trouble: str = ""


@dataclass
class _Watcher:
    tree: Path
    manifest: Manifest
    heard: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    observer: BaseObserver | None = None
    digests: dict[tuple[str, int, int], str] = field(default_factory=dict)
    """Of files whose path does not say all: path, size and time -> digest."""

    def look(self) -> _Look:
        try:
            listing = settled_listing(self.tree)
            return _Look(judge(self.manifest, listing, lambda path: self._digest(path, listing)))
        except TreeUnavailable as error:
            return _Look(None, error.message)
        except OSError as error:  # moved away between the listing and reading it
            return _Look(None, str(error))

    def listen(self) -> str:
        """Starts the events; returns why there are none where that fails."""
        observer = Observer()
        kinds = [
            FileDeletedEvent,
            FileMovedEvent,
            FileCreatedEvent,
            DirDeletedEvent,
            DirMovedEvent,
            DirCreatedEvent,
        ]
        try:
            observer.schedule(
                _Handler(self.tree, self.heard), str(self.tree), recursive=True, event_filter=kinds
            )
            observer.start()
        except OSError as error:
            return (
                f"no file-system events ({error.strerror}); looking at intervals instead."
                " If the inotify limit is reached: sudo sysctl fs.inotify.max_user_watches=1048576"
            )
        self.observer = observer
        return ""

    def unlisten(self) -> None:
        if self.observer is not None:
            self.observer.stop()
            self.observer.join(timeout=5)
            self.observer = None

    def wait(self, every_s: float, stop: threading.Event) -> list[Event]:
        """Waits for events to come and cease, for `every_s` to pass, or for `stop`."""
        events: list[Event] = []
        until = time.monotonic() + every_s
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            try:
                events.append(self.heard.get(timeout=min(left, 0.5 if not events else QUIET_S)))
                if len(events) == 1:
                    until = time.monotonic() + QUIET_AT_MOST_S
            except queue.Empty:
                if events:
                    break
        return events

    def _digest(self, path: str, listing: Listing) -> str:
        key = (path, *listing[path])
        if key not in self.digests:
            self.digests[key] = digest_file(real_path(self.tree, path))
        return self.digests[key]


class _Handler(FileSystemEventHandler):
    def __init__(self, tree: Path, heard: queue.SimpleQueue[Event]) -> None:
        self.tree = tree
        self.heard = heard

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = self._relative(event.src_path)
        if path and path != MARKER and not path.startswith(f"{MARKER}/"):
            target = self._relative(event.dest_path) if event.dest_path else ""
            self.heard.put((now(), event.event_type, path, target))

    def _relative(self, path: bytes | str) -> str:
        text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
        with contextlib.suppress(ValueError):
            return escape(Path(text).relative_to(self.tree).as_posix())
        return escape(text)
