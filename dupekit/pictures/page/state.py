"""What the page knows of a review tree: the verdict on every image, what changed when, and who waits to be told.

The tree is the truth: what a watcher finds there goes in by `found`. What the page itself moved goes in at once by `moved`;
a look that began before such a move does not take it back.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dupekit.review.manifest import Manifest
from dupekit.review.moves import Moves
from dupekit.review.verdicts import FileVerdict, Verdict
from dupekit.review.watch.pace import Headway, headway
from dupekit.review.watch.watcher import Snapshot

_REMEMBERED = 500
"""So many changes back a page may be that is told the changes alone; one that missed more is told everything."""

_UNKNOWN = "The review tree was not looked at yet."


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is said of one image, without where it lies."""

    verdict: Verdict
    label: str
    """Escaped: the one it shall have."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What one version has that the one before had not."""

    version: int
    numbers: frozenset[int]
    by: str | None


class State:
    """Of one tree. Every method may be called from any thread."""

    def __init__(
        self, manifest: Manifest, moves: Moves, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._manifest, self._moves, self._clock = manifest, moves, clock
        self._lock = threading.Lock()
        self._verdicts = [moves.verdict(file, file.path) for file in manifest.files]
        self._moved_at: dict[int, float] = {}
        """When the page itself moved an image last."""
        self._version = 0
        self._changes: deque[_Change] = deque(maxlen=_REMEMBERED)
        self._listeners: set[Callable[[], None]] = set()
        self._trouble: str | None = _UNKNOWN
        self._strangers = 0
        self._headway: Headway | None = None

    def verdict(self, number: int) -> FileVerdict:
        with self._lock:
            return self._verdicts[number]

    @property
    def trouble(self) -> str | None:
        """Why the tree cannot be worked on now."""
        return self._trouble

    def opinion(self, number: int) -> Opinion:
        found = self.verdict(number)
        return Opinion(found.verdict, found.label)

    def count(self) -> tuple[int, int]:
        """How many images there are, and how many of them are open."""
        with self._lock:
            return len(self._verdicts), sum(v.verdict is Verdict.OPEN for v in self._verdicts)

    def new_labels(self) -> list[str]:
        """Labels that are no class of the dataset."""
        classes = set(self._manifest.folders.values())
        with self._lock:
            return sorted({v.label for v in self._verdicts} - classes)

    def moved(self, number: int, path: str) -> FileVerdict:
        """The page itself moved an image. Whoever waits is told by `tell`, of a whole action at once."""
        found = self._moves.verdict(self._manifest.files[number], path)
        with self._lock:
            self._verdicts[number] = found
            self._moved_at[number] = self._clock()
        return found

    def tell(self, numbers: Iterable[int], by: str | None) -> None:
        """Tells whoever waits that these images were moved, and by whom."""
        with self._lock:
            self._tell(numbers, by)

    def found(self, snapshot: Snapshot) -> None:
        """A watcher looked at the tree."""
        review = snapshot.review
        with self._lock:
            if review is None:
                trouble = f"{snapshot.trouble or _UNKNOWN} Nothing is taken as deleted."
                if trouble != self._trouble:
                    self._trouble = trouble
                    self._tell((), None)
                return
            changed = [
                number
                for number, (known, seen) in enumerate(zip(self._verdicts, review.verdicts, strict=True))
                if known != seen and not self._is_newer(number, known, snapshot.began_s)
            ]
            for number in changed:
                self._verdicts[number] = review.verdicts[number]
            before = (self._trouble, self._strangers, self._pace())
            self._trouble, self._strangers = None, len(review.strangers)
            self._headway = headway(self._headway, review, snapshot.at_s)
            if changed or before != (self._trouble, self._strangers, self._pace()):
                self._tell(changed, None)

    def broken(self, why: str) -> None:
        """Nobody follows the tree any more."""
        with self._lock:
            self._trouble = why
            self._tell((), None)

    def _is_newer(self, number: int, known: FileVerdict, began_s: float) -> bool:
        """Whether the page moved an image after a look began, and it lies there still."""
        moved_at = self._moved_at.get(number)
        if moved_at is None or moved_at < began_s:
            return False
        return known.now_at is not None and self._moves.lies(known.now_at)

    def _tell(self, numbers: Iterable[int], by: str | None) -> None:
        self._version += 1
        self._changes.append(_Change(self._version, frozenset(numbers), by))
        for listener in self._listeners:
            listener()

    @property
    def waiting(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """`listener` is called whenever something changed; it must return at once."""
        with self._lock:
            self._listeners.add(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def wake(self) -> None:
        """Calls whoever listens, although nothing changed. Takes no lock: a signal's handler may call it."""
        for listener in tuple(self._listeners):
            listener()

    def whole(self) -> dict[str, Any]:
        """All of it, as JSON for the page."""
        with self._lock:
            return {
                "version": self._version,
                "verdicts": [[v.verdict, v.label] for v in self._verdicts],
                "present": [v.now_at is not None for v in self._verdicts],
                "trouble": self._trouble,
                "strangers": self._strangers,
                "pace": self._pace(),
            }

    def since(self, version: int) -> list[dict[str, Any]]:
        """What a page is to be told that knows `version`, one message a change; all at once where it missed too many."""
        with self._lock:
            if version == self._version:
                return []
            missed = [change for change in self._changes if change.version > version]
            if not 0 <= version < self._version or len(missed) < self._version - version:
                everything = frozenset(range(len(self._verdicts)))
                missed = [_Change(self._version, everything, None)]
            return [self._message(change) for change in missed]

    def _message(self, change: _Change) -> dict[str, Any]:
        rows = ((number, self._verdicts[number]) for number in sorted(change.numbers))
        return {
            "version": change.version,
            "changes": [[number, v.verdict, v.label, v.now_at is not None] for number, v in rows],
            "trouble": self._trouble,
            "strangers": self._strangers,
            "pace": self._pace(),
            "by": change.by,
        }

    def _pace(self) -> dict[str, float | None]:
        """Images an hour of working time, and what is left at this pace; null while that cannot be told."""
        reached = self._headway
        per_hour, left_s = (reached.per_hour, reached.left_s) if reached else (None, None)
        return {"per_hour": per_hour and round(per_hour), "left_s": left_s and round(left_s)}
