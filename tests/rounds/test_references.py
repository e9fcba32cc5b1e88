from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dupekit.rounds.references import Space, nearest, typical


def drawn(seed: int, n: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "labels": rng.integers(0, 4, n),
        "probability_given": rng.random(n).round(1),
        "contents": rng.integers(0, n, n),
        "confirmed": rng.random(n) < 0.2,
        "barred": rng.random(n) < 0.3,
    }


def worth_of(row: int, d: dict[str, np.ndarray]) -> tuple[bool, float]:
    """What is confirmed comes first, unless the models take it for something else: that is right, but not typical."""
    p = float(d["probability_given"][row])
    return bool(d["confirmed"][row]) and p >= 0.5, p


@given(st.integers(0, 10_000))
def test_typical_images_are_the_best_of_their_class_each_content_once(seed: int) -> None:
    d = drawn(seed)
    found = typical(
        d["labels"], d["probability_given"], d["contents"], confirmed=d["confirmed"], barred=d["barred"]
    )
    labels_of: dict[int, set[int]] = {}
    for content, label in zip(d["contents"].tolist(), d["labels"].tolist(), strict=True):
        labels_of.setdefault(content, set()).add(label)
    for label in range(4):
        rows = found.get(label, np.zeros(0, np.intp)).tolist()
        may = [
            row
            for row in range(len(d["labels"]))
            if d["labels"][row] == label
            and not d["barred"][row]
            and (d["confirmed"][row] or len(labels_of[int(d["contents"][row])]) == 1)
        ]
        assert set(rows) <= set(may)
        assert sorted(d["contents"][rows]) == sorted({int(d["contents"][row]) for row in may})
        worth = [worth_of(row, d) for row in rows]
        assert worth == sorted(worth, reverse=True)
        for row in may:  # the best of each content
            kept = next(one for one in rows if d["contents"][one] == d["contents"][row])
            assert worth_of(kept, d) >= worth_of(row, d)


def test_no_images_no_typical_ones() -> None:
    none = np.zeros(0, int)
    assert typical(none, np.zeros(0), none, confirmed=none > 0, barred=none > 0) == {}


def features_of(values: np.ndarray, most: list[int] | None = None):
    def features(rows: np.ndarray) -> np.ndarray:
        if most is not None:
            most.append(len(rows))
        return values[rows]

    return features


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_nearest_are_those_of_the_largest_cosine(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(40, 6)).astype(np.float16)
    contents = rng.integers(0, 30, 40)
    rows = rng.permutation(40)
    queries, candidates = rows[:7], np.sort(rows[3:25])
    space = Space.of(features_of(values), np.arange(40))
    found = nearest(space, queries, candidates, contents, count=count)
    centred = values.astype(np.float64) - values.astype(np.float64).mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for query, near, alike in zip(queries, found.rows, found.similarity, strict=True):
        may = candidates[contents[candidates] != contents[query]]
        cosine = centred[may] @ centred[query]
        assert np.allclose(alike[: len(may)], np.sort(cosine)[::-1][:count], atol=1e-4)
        assert set(near[near >= 0]) <= set(may.tolist())
        assert (near >= 0).sum() == min(count, len(may)) == (alike > -np.inf).sum()


def test_many_are_compared_a_part_at_a_time_with_the_same_result() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(9000, 4)).astype(np.float32)
    most: list[int] = []
    everything = np.arange(9000)
    space = Space.of(features_of(values, most), everything)
    queries = np.arange(0, 9000, 7)
    found = nearest(space, queries, everything, everything, count=3)
    assert max(most) < 9000
    for at in (0, 600, len(queries) - 1):
        single = nearest(space, queries[at : at + 1], everything, everything, count=3)
        assert found.rows[at].tolist() == single.rows[0].tolist()
        by_hand = space.directions(everything) @ space.directions(queries[at : at + 1])[0]
        by_hand[queries[at]] = -np.inf
        assert found.rows[at].tolist() == np.argsort(-by_hand, kind="stable")[:3].tolist()


def test_features_that_are_no_numbers_are_like_nothing() -> None:
    values = np.array([[1, 0], [np.nan, 1], [np.inf, 0], [2, 0.1], [-1, 0]], np.float32)
    everything = np.arange(5)
    space = Space(features_of(values), np.zeros(2, np.float32))
    found = nearest(space, np.array([0, 1]), everything, everything, count=4)
    assert found.rows[0, 0] == 3
    assert np.isfinite(found.similarity).all()
    assert found.similarity[1, 0] < 0.99
    assert nearest(space, everything, everything[:0], everything, count=2).rows.shape == (5, 0)
