"""A watcher in a thread."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dupekit.review.verdicts import tree_manifest
from dupekit.review.watch.watcher import Snapshot, follow


class Watching:
    """A watcher in a thread, and the last thing it said."""

    def __init__(self, tree: Path, kept_in: Path, **options: float) -> None:
        self.stop = threading.Event()
        self.said: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
        self.snapshots: list[Snapshot] = []
        manifest = tree_manifest(tree)

        def work() -> None:
            for snapshot in follow(tree, manifest, kept_in, stop=self.stop, **options):
                self.said.put(snapshot)

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def until(self, condition: Callable[[Snapshot], bool]) -> Snapshot:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            snapshot = self.said.get(timeout=30)
            self.snapshots.append(snapshot)
            if condition(snapshot):
                return snapshot
        raise AssertionError(f"never came; last: {self.snapshots[-1:]}")

    def end(self) -> Snapshot:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.until(lambda snapshot: snapshot.last)


def counts(snapshot: Snapshot) -> Counter[str]:
    return Counter(v.verdict for v in snapshot.review.verdicts) if snapshot.review else Counter()
