"""Headway is a value: no clock, no terminal."""

from __future__ import annotations

import pytest

from dupekit.cli.watch import summary
from dupekit.review.listing import Entry
from dupekit.review.manifest import ExportedFile, Manifest
from dupekit.review.verdicts import Review, judge
from dupekit.review.watch.pace import Count, Headway, headway

FILES = [
    ExportedFile(
        path=f"{given}/{number}",
        original=f"{given}/{number}",
        given=given,
        suggested="C",
        votes=9,
        score=1,
        digest=f"{number:064x}",
    )
    for number, given in enumerate("AABB")
]
MANIFEST = Manifest(
    export="x", round=1, pairs=10, created="", folders={name: name for name in "ABC"}, files=FILES
)


def review(*places: str) -> Review:
    """Four files, two each in A and B; where each lies now, empty for deleted."""
    at = {place: number for number, place in enumerate(places) if place}
    return judge(MANIFEST, dict.fromkeys(at, Entry(1, 1, 1)), lambda path: f"{at[path]:064x}")


def after(*steps: tuple[float, Review]) -> Headway:
    reached = None
    for at_s, seen in steps:
        reached = headway(reached, seen, at_s)
    assert reached is not None
    return reached


ALL = review("A/0", "A/1", "B/2", "B/3")


def test_it_counts_what_was_decided_and_what_is_open() -> None:
    reached = after((0, review("", "_unsure/1", "b/2", "_done/B/renamed")))
    # Another case is no other class.
    assert reached.by_class == {"A": Count(right=1, unsure=1), "B": Count(done=1, open=1)}
    assert reached.all == Count(done=1, right=1, unsure=1, open=1)
    assert (reached.all.reviewed, reached.all.exported) == (3, 4)
    assert reached.per_hour is None


def test_the_pace_is_of_working_time() -> None:
    one, two, three = review("", "A/1", "B/2", "B/3"), review("", "", "B/2", "B/3"), review("", "", "", "B/3")
    reached = after((0, ALL), (50, one), (170, two))
    assert (reached.paced, reached.worked_s) == (1, 120)  # the clock begins with the first change
    assert reached.per_hour == 30
    assert reached.left_s == 2 * 120
    assert after((0, ALL), (50, one), (170, two), (9000, three)).per_hour == 30  # lunch
    assert after((0, ALL), (50, one), (100, one), (170, two)).per_hour == 30  # looks that find nothing new


def test_a_file_put_back_is_no_headway() -> None:
    one, two = review("", "A/1", "B/2", "B/3"), review("", "", "B/2", "B/3")
    reached = after((0, ALL), (50, one), (170, two), (230, one))
    assert (reached.all.reviewed, reached.paced, reached.per_hour) == (1, 0, None)


@pytest.mark.parametrize(
    ("before", "now", "action", "in_work"),
    [
        (ALL, ALL, None, None),
        (ALL, review("", "A/1", "B/2", "B/3"), "A/0 deleted", "A"),
        (review("", "A/1", "B/2", "B/3"), ALL, "A/0 put back to A", "A"),
        (ALL, review("A/0", "A/1", "B/2", "_done/3"), "B/3 moved to _done", "B"),
        (ALL, review("A/0", "A/x", "B/2", "B/3"), "A/1 renamed", "A"),
        (ALL, review("A/0", "A/1", "_done/B/2", "_done/B/3"), "2 files of B moved to _done", "B"),
        (ALL, review("A/0", "", "B/2", ""), "2 files of 2 classes deleted", "B"),
        (ALL, review("A/0", "A/1", "", "C/3"), "2 files of B moved", "B"),
    ],
)
def test_what_was_done_last(before: Review, now: Review, action: str | None, in_work: str | None) -> None:
    reached = after((0, before), (1, now))
    assert (reached.action, reached.in_work) == (action, in_work)
    assert headway(reached, now, 2).action == action  # until something else is done


def test_it_is_told_in_a_line() -> None:
    one, two = review("", "A/1", "B/2", "B/3"), review("", "", "B/2", "B/3")
    assert (
        summary(after((0, ALL), (50, one)))
        == "1 of 4 reviewed (0 done, 1 right, 0 expunge, 0 unsure), 3 open"
    )
    assert summary(after((0, ALL), (50, one), (170, two))) == (
        "2 of 4 reviewed (0 done, 2 right, 0 expunge, 0 unsure), 2 open; 30 an hour, 0 h 04 min left"
    )
