"""Headway is a value: no clock, no terminal."""

from __future__ import annotations

from dupekit.cli.watch import summary
from dupekit.review.manifest import ExportedFile
from dupekit.review.verdicts import FileVerdict, Review, Verdict
from dupekit.review.watch.pace import Count, Headway, headway


def review(*places: str) -> Review:
    """Four files, two each in A and B; where each lies now, empty for deleted."""
    verdicts = []
    for number, now_at in enumerate(places):
        given = "AABB"[number]
        file = ExportedFile(
            path=f"{given}/{number}",
            original=str(number),
            given=given,
            suggested="C",
            votes=9,
            score=1,
            digest="0" * 64,
        )
        verdicts.append(FileVerdict(file, Verdict.RELABEL, "", now_at or None))
    return Review(verdicts)


def after(*steps: tuple[float, Review]) -> Headway:
    reached = None
    for at_s, seen in steps:
        reached = headway(reached, seen, at_s)
    assert reached is not None
    return reached


ALL = review("A/0", "A/1", "B/2", "B/3")


def test_deleted_and_moved_are_counted_by_class() -> None:
    reached = after((0, review("", "_unsure/1", "b/2", "B/renamed")))
    assert reached.by_class == {"A": Count(2, 1, 1), "B": Count(2, 0, 0)}  # another case is no other class
    assert reached.all == Count(4, 1, 1)
    assert (reached.all.reviewed, reached.all.left) == (2, 2)
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


def test_it_is_told_in_a_line() -> None:
    one, two = review("", "A/1", "B/2", "B/3"), review("", "", "B/2", "B/3")
    before = after((0, ALL), (50, one))
    assert summary(before) == "1 of 4 reviewed (1 deleted, 0 moved), 3 left"
    assert summary(headway(before, two, 170), before) == (
        "2 of 4 reviewed (2 deleted, 0 moved), 2 left; 30 an hour, at most 0 h 04 min left; A 2/2"
    )
