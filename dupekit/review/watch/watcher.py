"""File-system events -> reconcile: follows a review tree while a technician works on it.

Events only say that it is worth looking. What has happened is always found by comparing a fresh listing
with the manifest, so lost, doubled or invented events (all three exist) change nothing. Which folders are heard
`events` knows, what a look found `look`; here is when to look, and what is told.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dupekit.errors import LockedError, TreeUnavailable
from dupekit.files.lock import exclusive
from dupekit.files.write import write_lines
from dupekit.review.event_log import EVENTS, Event, append_events
from dupekit.review.manifest import MARKER, Manifest
from dupekit.review.verdicts import Review
from dupekit.review.watch.events import Ears, Heard
from dupekit.review.watch.look import BUSY_S, Looker
from dupekit.system.mounts import is_network

QUIET_S, QUIET_AT_MOST_S = 0.3, 2.0
"""After an event: look when this long nothing more came, but no later than the second figure."""
CHECK_S, SAFETY_S, SAFETY_SHARE = 30.0, 900.0, 0.0001
"""With events from every folder: how often to see that the tree is still the same, and how often to look although
nothing was heard; but let such looks take no larger share of the time than the third."""
POLL_S, POLL_NETWORK_S = 30.0, 5.0
"""Without events, look this often; network file systems report nothing of what others do."""
POLL_SHARE = 0.05
"""... but let looking take no larger share of the time than this."""

NOTICED_S = 1.0
"""No wait is longer: of a signal that comes in the moment before one begins, Python hears when it is over."""

_AT_ONCE = 10_000
"""Events are kept no later than when there are so many."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tree after a look at it."""

    review: Review | None
    """None while the tree cannot be read."""
    trouble: str | None
    """Why it cannot be read, or why events do not work, or after.txt was not written."""
    events: Sequence[Event]
    """What was heard since the last look: a hint, perhaps incomplete."""
    last: bool
    """Whether this is the look taken at the end."""
    at_s: float
    """When, in seconds of the monotonic clock."""
    kept: bool
    """Whether after.txt holds what the review says."""
    misspelt: Mapping[str, str]
    """New class -> the class of the dataset whose name is nearly its own."""
    began_s: float
    """When the look began that the review is of, by the same clock: what was moved later it may not know."""
    beside: bool
    """Whether another watcher has the tree, and keeps after.txt."""


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
    that has no project, the tree's marker folder. after.txt is current before a snapshot is yielded, or the snapshot
    says that it is not `kept`.

    Where another watcher has the tree, or one that took its place, it follows `beside` that one, and keeps nothing until
    that has ended. Raises TreeUnavailable where the tree cannot be read at the
    start; later it waits until it can. `stop` is set when the generator ends, however it ends.
    """
    looker = Looker(tree, manifest)
    looker.look_until_it_rests()
    if looker.found.review is None:
        raise TreeUnavailable(looker.found.trouble or "", hint=looker.found.remedy)
    heard: Heard = queue.SimpleQueue()
    ears = Ears(tree, heard)
    with contextlib.closing(_Lock(tree)) as lock:
        lock.hold()
        threading.Thread(target=_wake, args=(stop, heard), daemon=True).start()
        try:
            ears.attend()
            looker.look()  # what happened before events came
            yield from _rounds(looker, ears, lock, _Rhythm(poll_s, is_network(tree)), heard, kept_in, stop)
        finally:
            stop.set()
            ears.close()


def _wake(stop: threading.Event, heard: Heard) -> None:
    # So that waiting for events needs no looking at `stop` in between, which would cost time when idle.
    stop.wait()
    heard.put(None)


class _Lock:
    """The lock of the tree that lies there now: one that was put aside or unmounted took its own along."""

    def __init__(self, tree: Path) -> None:
        self._file = tree / MARKER / "watch.lock"
        self.elsewhere = False
        """Whether another watcher holds it."""
        # Some network file systems give a file another number whenever they are asked.
        self._numbered = not is_network(tree)
        self._held: tuple[int, int] | None = None
        self._stack = contextlib.ExitStack()

    def hold(self) -> None:
        """Takes it, unless it is held here or elsewhere."""
        if self._held is not None and (not self._numbered or _number(self._file) == self._held):
            return
        self.close()
        try:
            self._stack.enter_context(exclusive(self._file, "watch"))
        except LockedError:
            self.elsewhere = True
        else:
            self._held, self.elsewhere = _number(self._file), False

    def doubt(self) -> None:
        """The tree cannot be read, and when it can, it may be another one."""
        self._held = None

    def close(self) -> None:
        self._held = None
        self._stack.close()


def _number(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.lstat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _rounds(
    looker: Looker,
    ears: Ears,
    lock: _Lock,
    rhythm: _Rhythm,
    heard: Heard,
    kept_in: Path,
    stop: threading.Event,
) -> Iterator[Snapshot]:
    """Looks, tells where there is something to tell, waits, until `stop`."""
    events: list[Event] = []
    """Heard, and not kept yet."""
    told: object = None
    """What the last snapshot was of; None where it was not kept."""
    last = False
    while True:
        if looker.found.review is None:
            lock.doubt()
        else:
            with contextlib.suppress(OSError):  # it has just gone away; the next look sees it
                lock.hold()
        state = (looker.found, ears.deaf, lock.elsewhere)
        at_rest = not looker.busy or len(events) >= _AT_ONCE
        if last or told != state or (events and at_rest):
            found = looker.found
            failed = None if lock.elsewhere else _keep(found.review, events, kept_in)
            yield Snapshot(
                review=found.review,
                trouble=" ".join(filter(None, (found.trouble or ears.deaf, failed))) or None,
                events=events,
                last=last,
                at_s=time.monotonic(),
                kept=found.review is not None and not failed and not lock.elsewhere,
                misspelt=found.misspelt,
                began_s=found.began_s,
                beside=lock.elsewhere,
            )
            told, events = (None, events) if failed else (state, [])
        if last:
            return
        new = _wait(heard, stop, rhythm.interval_s(looker, ears) if told else POLL_NETWORK_S)
        events = events + new
        last = stop.is_set()
        if last:
            looker.look_until_it_rests()
        elif new or rhythm.due(looker, ears):
            looker.look()
            if ears.attend():
                looker.look()


def _keep(review: Review | None, events: Sequence[Event], folder: Path) -> str | None:
    """Writes after.txt and the events; returns why that failed, as where a share has just gone away."""
    try:
        if review is not None:
            write_lines(folder / "after.txt", review.places())
        if events:
            append_events(folder / EVENTS, events)
    except OSError as error:
        return f"after.txt could not be written: {error}; will be tried again."
    return None


def _wait(heard: Heard, stop: threading.Event, at_most_s: float) -> list[Event]:
    """Waits for events to come and cease, for the next look's time, or for `stop`."""
    events: list[Event] = []
    until = time.monotonic() + at_most_s
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        at_once_s = QUIET_S if events else NOTICED_S
        try:
            event = heard.get(timeout=min(left, at_once_s))
        except queue.Empty:
            if events:
                break
            continue
        if event is not None:
            events.append(event)
            if len(events) == 1:
                until = time.monotonic() + QUIET_AT_MOST_S
    return events


@dataclass(frozen=True, slots=True)
class _Rhythm:
    """How often to look."""

    poll_s: float | None
    """What was asked for."""
    network: bool
    """Whether the tree lies on a network file system."""

    def due(self, looker: Looker, ears: Ears) -> bool:
        """Whether to look although nothing was heard."""
        safety_s = max(SAFETY_S, looker.took_s / SAFETY_SHARE)
        if self._polls(looker, ears) or looker.busy or time.monotonic() - looker.ended_at >= safety_s:
            return True
        return not ears.at_work()

    def interval_s(self, looker: Looker, ears: Ears) -> float:
        """How long to wait for events at most."""
        if looker.busy:
            return max(BUSY_S, looker.took_s)
        if not self._polls(looker, ears):
            return CHECK_S
        usual_s = POLL_S if ears.deaf and not self.network else POLL_NETWORK_S
        return self.poll_s or max(usual_s, looker.took_s / POLL_SHARE)

    def _polls(self, looker: Looker, ears: Ears) -> bool:
        return bool(self.poll_s or self.network or ears.deaf or looker.found.review is None)
