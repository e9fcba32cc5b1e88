from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dupekit.rounds.split import seed_for, split

labels = st.lists(st.integers(0, 5), min_size=1, max_size=200)
seeds = st.integers(0, 2**63 - 1)


@given(labels, seeds)
def test_halves_without_groups_differ_by_at_most_one_per_class(given_labels: list[int], seed: int) -> None:
    second = split(np.array(given_labels), np.arange(len(given_labels)), seed=seed)
    assert second.shape == (len(given_labels),)
    assert second.dtype == bool
    difference = [
        abs(2 * second[np.array(given_labels) == label].sum() - given_labels.count(label))
        for label in set(given_labels)
    ]
    assert max(difference) <= 1
    # The odd ones out are shared: the halves as a whole are as equal as can be, too.
    assert abs(2 * int(second.sum()) - len(second)) <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=120), seeds)
def test_images_of_one_group_are_in_the_same_half(rows: list[tuple[int, int]], seed: int) -> None:
    groups = np.array([group for _, group in rows])
    second = split(np.array([label for label, _ in rows]), groups, seed=seed)
    for group in set(groups.tolist()):
        assert len(set(second[groups == group].tolist())) == 1


def test_single_images_make_up_for_groups() -> None:
    groups = [0, 0, 0, *range(1, 10)]  # a group of three, and nine others
    for seed in range(20):
        assert split(np.zeros(12, int), np.array(groups), seed=seed).sum() == 6


@given(labels, seeds)
def test_a_seed_gives_one_split(given_labels: list[int], seed: int) -> None:
    alone = np.arange(len(given_labels))
    one, two = (split(np.array(given_labels), alone, seed=seed) for _ in range(2))
    assert (one == two).all()


def test_each_image_is_drawn_into_either_half_equally_often() -> None:
    drawn = sum(split(np.repeat([0, 1], 5), np.arange(10), seed=seed).astype(int) for seed in range(400))
    assert abs(drawn / 400 - 0.5).max() < 0.1


def test_seeds_for_different_uses_differ() -> None:
    seeds_drawn = {seed_for(0, part, pair) for part in range(10) for pair in range(100)}
    assert len(seeds_drawn) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds_drawn)
