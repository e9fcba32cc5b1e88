"""A cap on the images of a class that a training gets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dupekit.rounds.capping import capped


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 20), st.integers(0, 2**62))
def test_each_class_has_as_many_as_it_may(labels: list[int], most: int, seed: int) -> None:
    of = np.array(labels, np.int32)
    rows = capped(of, most, seed=seed)
    assert (np.diff(rows) > 0).all()
    assert (
        np.bincount(of[rows], minlength=6).tolist() == np.minimum(np.bincount(of, minlength=6), most).tolist()
    )
    assert capped(of, most, seed=seed).tolist() == rows.tolist()


def test_all_images_are_alike_probable() -> None:
    labels = np.repeat([0, 1], [10, 30])
    drawn = np.zeros(40)
    for seed in range(2000):
        drawn[capped(labels, 5, seed=seed)] += 1
    expected = np.repeat([1000, 2000 * 5 / 30], [10, 30])
    assert (np.abs(drawn - expected) < 5 * np.sqrt(expected)).all()
