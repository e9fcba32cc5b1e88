"""Work on many parts at once: with results in the order of the parts and never many of them waiting, and within room that is
shared."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(
    executor: Executor, work: Callable[[Part], Result], parts: Iterable[Part], *, ahead: int
) -> Iterator[Result]:
    """What `work` makes of each part, in the order of the parts.

    At most `ahead` parts are under way or waiting to be taken, so that memory does not grow with their number
    (`Executor.map` takes them all at once). An exception of `work` is raised when its part's turn comes; what has not
    begun by then, or when the iterator is closed, is not begun.
    """
    under_way: deque[Future[Result]] = deque()
    try:
        for part in parts:
            under_way.append(executor.submit(work, part))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


class Room:
    """So much of something for all threads of a process together; who finds no room waits. No queue: who needs little goes
    before who needs much."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Within it this much is taken; of more than there is, all."""
        amount = min(amount, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()
