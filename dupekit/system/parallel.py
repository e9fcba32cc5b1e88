"""Work on many parts at once, with results in the order of the parts and never many of them waiting."""

from __future__ import annotations

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
