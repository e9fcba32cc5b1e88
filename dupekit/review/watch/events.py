"""Listens to a review tree through watchdog, and knows whether it hears every folder.

watchdog keeps its troubles to itself: a folder that the system would not watch any more is passed over in silence; an
overflow of the kernel's queue is only a line in its log; and a folder that was moved out of the tree is listened to
where it is now, and confuses its books so that a thread may die, or stopping fail. All are found here.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import threading
import time
import warnings
from pathlib import Path

from watchdog.events import (
    EVENT_TYPE_CLOSED,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventDispatcher
from watchdog.utils import BaseThread

from dupekit.files.names import escape
from dupekit.review.event_log import Event
from dupekit.review.manifest import MARKER
from dupekit.review.watch.look import Identity, identity
from dupekit.system.stamp import now

Heard = queue.SimpleQueue[Event | None]
"""Events as they come; None only wakes who waits."""

KINDS: list[type[FileSystemEvent]] = [
    FileDeletedEvent,
    FileMovedEvent,
    FileCreatedEvent,
    FileClosedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    DirCreatedEvent,
]
"""Closing after writing, as a file's only event when it is overwritten where it lies; but neither opening nor closing
after reading: reading the tree oneself would be heard, too."""

_INTERVALS = "looking at intervals instead. Remedy: sudo sysctl fs.inotify."


PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.2)
"""Watches of a new folder come a moment after it, and go after one that is deleted: so it is counted again."""
RETRY_S = 900.0
"""Where not every folder is heard, it is tried anew after this time."""


class Ears:
    """Puts what happens in a tree into a queue, from `open` until `close`."""

    def __init__(self, tree: Path, heard: Heard) -> None:
        self.deaf: str | None = None
        """Why not every folder is heard."""
        self._tree = tree
        self._heard = heard
        self._root: Identity | None = None
        """What is listened to."""
        self._retry_at = 0.0
        self._observer: BaseObserver | None = None
        self._descriptors: set[str] = set()
        self._threads: list[BaseThread] = []
        self._overflow = _Overflow(heard)

    def attend(self) -> bool:
        """Sees to it that every folder of the tree that is there now is heard, and no other; True where that was begun
        anew, so that another look is due."""
        root = identity(self._tree)
        if root is None:
            self.close()
            self._root = self.deaf = None
            return False
        if root == self._root:
            waits = time.monotonic() < self._retry_at if self.deaf else self.in_order()
            if waits:
                return False
        self.deaf = self.open()
        self._root, self._retry_at = root, time.monotonic() + RETRY_S
        return True

    def at_work(self) -> bool:
        """Whether the tree is still the one that is listened to: what an idle watcher asks.

        It does not count how many folders are watched, which took most of its time.
        """
        return self.alive() and identity(self._tree) == self._root

    def open(self) -> str | None:
        """Starts, anew where it had; returns why not every folder is heard, if so."""
        self.close()
        _silence()
        others, before = _inotify_descriptors(), set(threading.enumerate())
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            handler = _Handler(self._tree, self._heard)
            observer.schedule(handler, str(self._tree), recursive=True, event_filter=KINDS)
            observer.start()
        except OSError as error:
            if observer is not None:
                observer.stop()
            limit = "max_user_instances=1024" if error.errno == errno.EMFILE else "max_user_watches=1048576"
            return f"no file-system events ({error.strerror}); {_INTERVALS}{limit}"
        self._observer = observer
        self._descriptors = _inotify_descriptors() - others
        self._threads = [t for t in threading.enumerate() if t not in before and isinstance(t, BaseThread)]
        logging.getLogger("watchdog").addHandler(self._overflow)
        return self.missing()

    def close(self) -> None:
        logging.getLogger("watchdog").removeHandler(self._overflow)
        observer, self._observer, self._descriptors = self._observer, None, set()
        if observer is not None:
            try:
                observer.stop()
            except Exception:
                for thread in self._threads:
                    if thread is not observer:
                        with contextlib.suppress(Exception):
                            thread.stop()
                observer.event_queue.put(EventDispatcher.stop_event)
            observer.join(timeout=5)
        self._threads = []

    def alive(self) -> bool:
        """Whether no thread of watchdog's has died, of which it says nothing."""
        return all(thread.is_alive() for thread in self._threads)

    def in_order(self) -> bool:
        """Whether every folder of the tree is heard, and nothing else; True where the system does not say."""
        if not self.alive():
            return False
        watched, folders = self._counts()
        return watched == folders or not self._descriptors

    def watched(self) -> int:
        """How many folders the system watches for us; 0 where it does not say."""
        count = 0
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
                count += info.count("inotify wd:")
        return count

    def missing(self) -> str | None:
        """Says how many folders are not heard; None where all are, or where the system does not say."""
        if not self._descriptors:
            return None
        watched, folders = self._counts()
        if watched >= folders:
            return None
        return (
            f"{folders - watched} of {folders} folders give no events (the inotify watch limit is reached, or they"
            f" came and went); {_INTERVALS}max_user_watches=1048576"
        )

    def _counts(self) -> tuple[int, int]:
        """Folders that are watched, and that there are; after a moment, if they are not as many."""
        watched, folders = self.watched(), _folders(self._tree)
        for pause_s in PAUSES_S:
            if watched == folders or not self._descriptors:
                break
            time.sleep(pause_s)
            watched, folders = self.watched(), _folders(self._tree)
        return watched, folders


def _silence() -> None:
    """Nothing of watchdog's is written to stderr, where it would tear the table of a watcher: what it logs of its own
    stopping, and its warning where a folder comes again that it had not noticed was gone."""
    log = logging.getLogger("watchdog")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", message="Callback with id ", category=RuntimeWarning)


def _inotify_descriptors() -> set[str]:
    """The open inotify instances of this process, as Linux shows them; none elsewhere."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if str(Path(entry.path).readlink()) == "anon_inode:inotify":
                    found.add(entry.name)
    return found


def _folders(tree: Path) -> int:
    return sum(1 for _ in os.walk(tree))  # follows no links, as watchdog does not


class _Overflow(logging.Handler):
    """Whatever watchdog warns of, it is worth looking."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        kind = "overflow" if "overflow" in record.getMessage() else "warning"
        self._heard.put(Event(now(), kind, None))


class _Handler(FileSystemEventHandler):
    def __init__(self, tree: Path, heard: Heard) -> None:
        self._prefix = f"{tree}{os.sep}"
        self._heard = heard

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = self._relative(event.src_path)
        if path != MARKER and not path.startswith(f"{MARKER}/"):
            target = self._relative(event.dest_path) if event.dest_path else None
            kind = "written" if event.event_type == EVENT_TYPE_CLOSED else event.event_type
            self._heard.put(Event(now(), kind, path, target))

    def _relative(self, path: bytes | str) -> str:
        text = os.fsdecode(path).removeprefix(self._prefix)  # not pathlib, which takes most of the time here
        return escape(text if os.sep == "/" else text.replace(os.sep, "/"))
