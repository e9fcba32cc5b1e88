from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dupekit.system.parallel import Room, in_order


def test_results_come_in_order_however_long_each_takes() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0:  # the first ends after the second
            assert later.wait(10)
        later.set()
        return -number

    with ThreadPoolExecutor(2) as pool:
        assert list(in_order(pool, work, range(5), ahead=4)) == [0, -1, -2, -3, -4]


def test_no_more_parts_are_taken_than_said() -> None:
    taken: list[int] = []

    def parts():
        for number in itertools.count():
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, str, parts(), ahead=3)
        assert [next(results), next(results)] == ["0", "1"]
        assert taken == [0, 1, 2, 3]
        results.close()


def test_an_error_comes_in_its_turn_and_ends_the_rest() -> None:
    begun: list[int] = []
    free = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError("the second")
        if number == 2:
            free.wait(10)  # holds the only thread, so that the others have not begun
        return number

    with ThreadPoolExecutor(1) as pool:
        results = in_order(pool, work, range(100), ahead=10)
        assert next(results) == 0
        with pytest.raises(ValueError, match="the second"):
            next(results)
        free.set()
    assert begun in ([0, 1], [0, 1, 2])


def test_no_more_is_taken_than_there_is_room_for() -> None:
    room, lock = Room(10), threading.Lock()
    taken = most = 0

    def work(amount: int) -> None:
        nonlocal taken, most
        with room.taken(amount):
            with lock:
                taken += min(amount, 10)
                most = max(most, taken)
            time.sleep(0.001)
            with lock:
                taken -= min(amount, 10)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, [3, 4, 5, 10, 99, 1] * 10))
    assert 4 < most <= 10
    assert taken == 0
