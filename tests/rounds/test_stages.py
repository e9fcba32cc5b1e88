"""Which pairs are trained together, how far labels are trusted, and when a list is stable."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dupekit.rounds.stability import LEAST_PAIRS, STABLE, STRONG, Stability, is_stable
from dupekit.rounds.stages import TOGETHER, batches, first_stage_of, weights
from dupekit.rounds.tally import score

SCORES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[arrays(np.float64, n, elements=st.floats(-10, 10))] * 2)
)


class TestStability:
    @given(SCORES, st.integers(0, 40))
    def test_parts_add_up_and_either_may_come_first(self, scores, at: int) -> None:
        before, after = scores
        whole = Stability.between(before, after)
        assert Stability.between(after, before) == whole
        parts = [Stability.between(before[rows], after[rows]) for rows in (slice(at), slice(at, None))]
        assert parts[0] + parts[1] == whole

    @given(SCORES)
    def test_it_is_the_difference_of_two_lists_over_their_union(self, scores) -> None:
        was, now = ({row for row, one in enumerate(some) if one > STRONG} for some in scores)
        found = Stability.between(*scores)
        assert (found.changed, found.images) == (len(was ^ now), len(was | now))
        assert found.share == (len(was ^ now) / len(was | now) if was | now else 0)

    @given(SCORES)
    def test_what_changes_below_the_list_does_not_count(self, scores) -> None:
        before, after = scores
        low = np.minimum(before, STRONG)
        assert (
            Stability.between(before, np.where(before > STRONG, before + 1, after.clip(max=STRONG))).changed
            == 0
        )
        assert Stability.between(low, low).images == 0

    def test_when_it_is_stable(self) -> None:
        least = Stability(int(STABLE * 100), 100)
        assert not is_stable(least, pairs=10)
        assert is_stable(Stability(least.changed - 1, 100), pairs=10)
        assert not is_stable(Stability(0, 100), pairs=LEAST_PAIRS - 1)
        assert is_stable(Stability(0, 0), pairs=LEAST_PAIRS)
        assert not is_stable(None, pairs=10)


class TestWeights:
    @given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1))
    def test_the_more_suspicious_the_less_an_image_counts(self, given_label, other) -> None:
        p_given = np.sort(given_label)
        found = weights(score(p_given, np.full(len(p_given), other)))
        assert found.dtype == np.float32
        assert ((found > 0) & (found < 1)).all()
        assert (np.diff(found) >= 0).all()

    @given(st.floats(0, 1), st.floats(0, 1))
    def test_it_is_the_share_of_the_given_label_among_the_two(self, p_given: float, p_other: float) -> None:
        one, reverse = weights(score(np.array([p_given, p_other]), np.array([p_other, p_given])))
        assert one + reverse == pytest.approx(1, abs=1e-6)
        assert one == pytest.approx((p_given + 1e-4) / (p_given + p_other + 2e-4), abs=1e-5)


PAIRS = st.lists(st.integers(1, 99), unique=True).map(sorted)


class TestBatches:
    @given(PAIRS, st.integers(0, 99), st.none() | st.integers(1, 50), st.booleans())
    def test_each_pair_once_in_order_and_never_both_stages_at_once(
        self, pairs, begun, first_stage, until_stable
    ) -> None:
        found = batches(pairs, begun=begun, first_stage=first_stage, until_stable=until_stable)
        assert [pair for batch in found for pair in batch] == pairs
        assert all(found)
        if first_stage is not None:
            assert all((batch[0] > first_stage) == (batch[-1] > first_stage) for batch in found)

    @given(PAIRS, st.integers(0, 99), st.none() | st.integers(1, 50))
    def test_without_looking_as_few_as_can_be(self, pairs, begun, first_stage) -> None:
        found = batches(pairs, begun=begun, first_stage=first_stage, until_stable=False)
        assert len(found) == len({first_stage is not None and pair > first_stage for pair in pairs})

    @given(st.integers(1, 99), st.integers(0, 99), st.none() | st.integers(1, 50))
    def test_looking_after_a_few(self, last: int, begun: int, first_stage) -> None:
        pairs = list(range(1, last + 1))
        found = batches(pairs, begun=begun, first_stage=first_stage, until_stable=True)
        ends = [batch[-1] for batch in found]
        if first_stage is not None and first_stage < last:
            assert first_stage in ends
        looks = [end for end in ends if end > max(begun, first_stage or 0)]
        assert all(later - earlier <= TOGETHER for earlier, later in pairwise(looks))
        assert looks[:1] in ([], [last]) or looks[0] >= LEAST_PAIRS
        assert all(end >= begun or end == first_stage for end in ends[:-1])

    def test_an_example(self) -> None:
        def found(**options) -> list[list[int]]:
            return batches(
                list(range(1, 11)), **{"begun": 0, "first_stage": None, "until_stable": True, **options}
            )

        assert found() == [[1, 2, 3, 4, 5], [6, 7], [8, 9], [10]]
        assert found(begun=6) == [[1, 2, 3, 4, 5, 6], [7, 8], [9, 10]]
        assert found(first_stage=5) == [[1, 2, 3, 4, 5], [6, 7], [8, 9], [10]]
        assert found(first_stage=2) == [[1, 2], [3, 4, 5], [6, 7], [8, 9], [10]]
        assert found(first_stage=5, until_stable=False) == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]

    @given(st.integers(2, 99))
    def test_the_first_stage_is_half_and_leaves_a_second(self, pairs: int) -> None:
        assert first_stage_of(pairs) in (pairs / 2, (pairs + 1) / 2)
        assert first_stage_of(pairs) < pairs
