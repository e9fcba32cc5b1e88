"""File-system events -> reconcile: follows a review tree while a technician works on it.

Events only say that it is worth looking. What has happened is always found by comparing a fresh listing
with the manifest, so lost, doubled or invented events (all three exist) change nothing.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.lock import exclusive
from dupekit.files.write import write_lines
from dupekit.review.event_log import EVENTS, Event, append_events
from dupekit.review.listing import Entry, Listing, Vanished, list_tree
from dupekit.review.manifest import MARKER, Manifest, export_key
from dupekit.review.match import Index
from dupekit.review.verdicts import Review, digest_of, judge
from dupekit.review.watch.events import Ears, Heard
from dupekit.system.mounts import is_network

QUIET_S, QUIET_AT_MOST_S = 0.3, 2.0
"""After an event: look when this long nothing more came, but no later than the second figure."""
BUSY_S = 0.25
"""Between two looks at a tree that is changing."""
CHECK_S, SAFETY_S, SAFETY_SHARE = 30.0, 900.0, 0.0001
"""With events from every folder: how often to see that the tree is still the same, and how often to look although
nothing was heard; but let such looks take no larger share of the time than the third."""
POLL_S, POLL_NETWORK_S = 30.0, 5.0
"""Without events, look this often; network file systems report nothing of what others do."""
POLL_SHARE = 0.05
"""... but let looking take no larger share of the time than this."""

_AT_ONCE = 10_000
"""Events are kept no later than when there are so many."""
_LONG, _AT_LAST = 40, 20
"""So many looks in a row that found the tree changing are worth a word; and so many are made at the end."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tree after a look at it."""

    review: Review | None
    """None while the tree cannot be read."""
    trouble: str
    """Why it cannot be read, or why events do not work, or after.txt was not written; else empty."""
    events: Sequence[Event]
    """What was heard since the last look: a hint, perhaps incomplete."""
    last: bool = False
    """Whether this is the look taken at the end."""
    at_s: float = 0.0
    """When, in seconds of the monotonic clock."""
    kept: bool = True
    """Whether after.txt holds what the review says."""


def follow(
    tree: Path,
    manifest: Manifest,
    kept_in: Path,
    *,
    stop: threading.Event,
    poll_s: float | None = None,
) -> Iterator[Snapshot]:
    """Yields the tree's state at the start, after every change, and once more when `stop` is set.

    after.txt and the log of events are kept in the folder `kept_in`: the project's of this export, or, on a computer
    that has no project, the tree's marker folder. after.txt is current before a snapshot is yielded, or the snapshot says
    that it is not `kept`. Raises
    LockedError where the tree has a watcher already, and TreeUnavailable where it cannot be read at the
    start; later it waits until it can. `stop` is set when the generator ends, however it ends.
    """
    watcher = _Watcher(tree, manifest, poll_s, is_network(tree))
    current = watcher.last_look()
    if current.review is None:
        raise TreeUnavailable(current.trouble, hint=current.remedy)
    with exclusive(tree / MARKER / "watch.lock", "watch"):
        threading.Thread(target=_wake, args=(stop, watcher.heard), daemon=True).start()
        try:
            watcher.attend()
            current = watcher.look() or current  # what happened before events came
            yield from _rounds(watcher, kept_in, stop, current)
        finally:
            stop.set()
            watcher.ears.close()


def _rounds(watcher: _Watcher, kept_in: Path, stop: threading.Event, current: _Look) -> Iterator[Snapshot]:
    events: list[Event] = []
    shown: tuple[_Look, str] | None = None
    last = False
    while True:
        state = (current, watcher.deaf)
        heard = events and (not watcher.busy or len(events) >= _AT_ONCE)
        if heard or last or shown is None or shown[0] is not current or shown[1] != watcher.deaf:
            trouble = _keep(current.review, events, kept_in)
            shown = None if trouble else state
            yield Snapshot(
                current.review,
                " ".join(filter(None, (current.trouble or watcher.deaf, trouble))),
                events,
                last,
                time.monotonic(),
                current.review is not None and not trouble,
            )
            events = events if trouble else []
        if last:
            return
        new = watcher.wait(POLL_NETWORK_S if shown is None else None, stop)
        events = events + new
        last = stop.is_set()
        if last:
            current = watcher.last_look()
        elif new or watcher.due():
            current = watcher.look() or current
            if watcher.attend():
                current = watcher.look() or current


def _wake(stop: threading.Event, heard: Heard) -> None:
    # So that waiting for events needs no looking at `stop` in between, which would cost time when idle.
    stop.wait()
    heard.put(None)


def _keep(review: Review | None, events: Sequence[Event], folder: Path) -> str:
    """Writes after.txt and the events; returns why that failed, as where a share has just gone away."""
    try:
        if review is not None:
            write_lines(folder / "after.txt", [v.now_at for v in review.verdicts if v.now_at])
        if events:
            append_events(folder / EVENTS, events)
    except OSError as error:
        return f"after.txt could not be written: {error}; will be tried again."
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    review: Review | None
    trouble: str = ""
    remedy: str = ""


@dataclass
class _Watcher:
    tree: Path
    manifest: Manifest
    poll_s: float | None
    network: bool
    heard: Heard = field(default_factory=queue.SimpleQueue)
    deaf: str = ""
    """Why not every folder gives events."""
    busy: int = 0
    """How many looks in a row found the tree changing."""
    ears: Ears = field(init=False)
    index: Index = field(init=False)
    current: _Look = field(default_factory=lambda: _Look(None))
    seen: bytes = b""
    """Fingerprint of the listing that `current` judges."""
    root: tuple[int, ...] | None = None
    """What the ears listen to."""
    looked_at: float = 0.0
    look_s: float = 0.0
    retry_at: float = 0.0
    digests: dict[tuple[str, Entry], str] = field(default_factory=dict)
    """Of files whose path does not say all."""

    def __post_init__(self) -> None:
        self.ears = Ears(self.tree, self.heard)
        self.index = Index(self.manifest)

    def look(self) -> _Look | None:
        """The same object as long as nothing has changed; None where the tree is changing right now.

        One listing that equals the last settled one is enough; else two in a row must agree.
        """
        started = time.monotonic()
        try:
            # Of the first listing only the fingerprint is kept: two would be the largest thing in memory.
            first = _fingerprint(list_tree(self.tree))
            if first != self.seen:
                listing = list_tree(self.tree)
                if _fingerprint(listing) != first:
                    return self._restless()
                self._judge(listing, first)
        except TreeUnavailable as error:
            # What was deleted or moved while it was read is no trouble, if a later look finds the tree in order.
            same_tree = self.root is not None and _identity(self.tree) == self.root
            if self.busy < (_LONG if isinstance(error, Vanished) else 3 if same_tree else 0):
                self.busy += 1
                return None
            self._gone(error)
        self.busy = 0
        self.looked_at = time.monotonic()
        self.look_s = self.looked_at - started
        return self.current

    def last_look(self) -> _Look:
        """As `look`, but waits until the tree rests."""
        self.busy = 0
        for _ in range(_AT_LAST):
            if (found := self.look()) is not None:
                return found
            time.sleep(BUSY_S)
        self._gone(TreeUnavailable(f"{self.tree} keeps changing while it is read."))
        return self.current

    def attend(self) -> bool:
        """Sees to it that every folder of the tree that is there now is heard, and no other; True where that was begun
        anew, so that another look is due."""
        root = _identity(self.tree)
        if root is None:
            self.ears.close()
            self.root, self.deaf = None, ""
            return False
        if root == self.root:
            if self.deaf and time.monotonic() < self.retry_at:
                return False
            if not self.deaf and self.ears.in_order():
                return False
        self.deaf = self.ears.open()
        self.root = root
        self.retry_at = time.monotonic() + SAFETY_S
        return True

    def due(self) -> bool:
        """Whether to look although nothing was heard."""
        safety_s = max(SAFETY_S, self.look_s / SAFETY_SHARE)
        if self._polls() or self.busy or time.monotonic() - self.looked_at >= safety_s:
            return True
        # Not how many folders are watched: counting them took most of the time of an idle watcher.
        return _identity(self.tree) != self.root or not self.ears.alive()

    def wait(self, at_most_s: float | None, stop: threading.Event) -> list[Event]:
        """Waits for events to come and cease, for the next look's time, or for `stop`."""
        events: list[Event] = []
        until = time.monotonic() + (at_most_s or self._interval_s())
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            try:
                event = self.heard.get(timeout=min(left, QUIET_S) if events else left)
            except queue.Empty:
                break
            if event is not None:
                events.append(event)
                if len(events) == 1:
                    until = time.monotonic() + QUIET_AT_MOST_S
        return events

    def _polls(self) -> bool:
        return bool(self.poll_s or self.network or self.deaf or self.current.review is None)

    def _interval_s(self) -> float:
        if self.busy:
            return max(BUSY_S, self.look_s)
        if not self._polls():
            return CHECK_S
        usual_s = POLL_S if self.deaf and not self.network else POLL_NETWORK_S
        return self.poll_s or max(usual_s, self.look_s / POLL_SHARE)

    def _judge(self, listing: Listing, fingerprint: bytes) -> None:
        used: dict[tuple[str, Entry], str] = {}

        def digest(path: str) -> str:
            key = (path, listing[path])
            used[key] = self.digests.get(key) or digest_of(self.tree, path)
            return used[key]

        key = export_key(self.tree)
        if key not in ("", self.manifest.export):
            raise TreeUnavailable(
                f"{self.tree} is the tree of another export now ({key[:8]}, not {self.manifest.export[:8]}).",
                hint="Put the tree back that is watched, or stop and watch this one.",
            )
        self.current = _Look(judge(self.manifest, listing, digest, index=self.index))
        self.seen, self.digests = fingerprint, used

    def _restless(self) -> _Look | None:
        self.busy += 1
        if self.busy != _LONG:
            return None
        note = "The tree keeps changing while it is read; these figures are of an earlier look."
        self.current, self.seen = _Look(self.current.review, note), b""
        return self.current

    def _gone(self, error: TreeUnavailable) -> None:
        if self.current.review is not None or self.current.trouble != error.message:
            self.current = _Look(None, error.message, error.hint)
        self.seen = b""


def _identity(tree: Path) -> tuple[int, ...] | None:
    """Differs where another tree lies at this path; None where there is none."""
    try:
        root, marker = tree.stat(), (tree / MARKER).stat()
    except OSError:
        return None
    return root.st_dev, root.st_ino, marker.st_dev, marker.st_ino


def _fingerprint(listing: Listing) -> bytes:
    made = hashlib.sha256()
    for path, (size, modified_ns, changed_ns, folder) in listing.items():
        made.update(f"{path}\n{size} {modified_ns} {changed_ns} {folder}\n".encode())
    return made.digest()
