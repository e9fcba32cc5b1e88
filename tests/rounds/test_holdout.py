from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dupekit.rounds.holdout import FEWEST, FOLDS, folds

images = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 25), st.sampled_from([True, True, True, False])), max_size=80
)
"""Label, group, whether nobody disputed it."""


@given(images, st.integers(0, 100))
def test_what_folds_hold(rows: list[tuple[int, int, bool]], seed: int) -> None:
    labels, groups, undisputed = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    found = folds(labels, groups, undisputed.astype(bool), seed=seed)
    again = folds(labels, groups, undisputed.astype(bool), seed=seed)
    assert (found.fold == again.fold).all()
    assert (found.tested <= (found.fold >= 0)).all()
    sure = {}
    for group in set(groups.tolist()):
        those = groups == group
        assert len(set(found.fold[those].tolist())) == 1, "what is alike stays together"
        assert found.tested[those].sum() == int(found.fold[those][0] >= 0), "and counts once"
        if undisputed[those].all() and len(set(labels[those].tolist())) == 1:
            sure[group] = int(labels[those][0])
        else:
            assert not found.tested[those].any()
    for label in range(5):
        of_class = [group for group, its in sure.items() if its == label]
        tested = np.flatnonzero(found.tested & (labels == label))
        assert len(tested) == (len(of_class) if len(of_class) >= FEWEST else 0)
        sizes = np.bincount(found.fold[tested], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1


def test_another_seed_deals_otherwise() -> None:
    labels, groups = np.arange(100) % 2, np.arange(100)
    one, two = (folds(labels, groups, np.ones(100, bool), seed=seed) for seed in (1, 2))
    assert (one.fold != two.fold).any()
    assert np.bincount(one.fold).tolist() == [20] * FOLDS
