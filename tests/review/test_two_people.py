"""Agreement of two people, against counts and a published example."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.review.two_people import TwoPeople, compared


def test_cohens_own_example() -> None:
    """J. Cohen (1960): 100 decisions on three categories, of which .70 agree where chance gives .41; kappa is .492."""
    table = [[44, 5, 1], [7, 20, 3], [9, 5, 6]]
    pairs = [
        (str(one), str(other))
        for one, row in enumerate(table)
        for other, count in enumerate(row)
        for _ in range(count)
    ]
    found = compared(pairs)
    assert (found.images, found.agreed, found.share) == (100, 70, 0.70)
    assert found.kappa == pytest.approx(0.492, abs=0.0005)


def test_it_is_undefined_where_nothing_can_be_said() -> None:
    assert compared([]) == TwoPeople(0, 0, None, None)
    assert compared([("correct", "correct")] * 3) == TwoPeople(3, 3, 1.0, None)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_the_share_beyond_chance(pairs: list[tuple[str, str]]) -> None:
    n = len(pairs)
    by_chance = sum(
        sum(one == chosen for one, _ in pairs) / n * sum(other == chosen for _, other in pairs) / n
        for chosen in "abc"
    )
    found = compared(pairs)
    assert found.share is not None
    if found.kappa is None:
        assert math.isclose(by_chance, 1)
    else:
        assert math.isclose(found.kappa, (found.share - by_chance) / (1 - by_chance), abs_tol=1e-9)
        assert found.kappa <= 1
        assert (found.kappa == 1) == (found.agreed == n)
    assert compared([(other, one) for one, other in pairs]) == found
