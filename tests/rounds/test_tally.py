from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.average_precision import average_precision
from dupekit.rounds.tally import EPSILON, Predictions, Tally, agrees, contradictions, most_probable, tally


def run_of(rows: np.ndarray, probabilities: np.ndarray) -> Predictions:
    def predictions(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        inside = (rows >= start) & (rows < stop)
        return rows[inside], probabilities[inside]

    return predictions


def drawn(seed: int, n: int = 50, classes: int = 4, pairs: int = 3) -> tuple[np.ndarray, list[Predictions]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    runs = []
    for _ in range(pairs):
        second = rng.random(n) < 0.5
        for half in (second, ~second):
            rows = np.flatnonzero(half)
            runs.append(run_of(rows, rng.dirichlet(np.ones(classes), len(rows)).astype(np.float16)))
    return labels, runs


def joined(parts: list[Tally]) -> dict[str, np.ndarray]:
    return {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("predictions", "suggested", "votes", "p_given", "p_suggested", "p_other", "score")
    }


@given(st.integers(0, 1000), st.integers(1, 60), st.randoms())
def test_neither_the_order_of_runs_nor_the_chunks_matter(seed: int, chunk: int, random) -> None:
    labels, runs = drawn(seed)
    one = joined(list(tally(labels, 4, runs)))
    random.shuffle(runs)
    other = joined(list(tally(labels, 4, runs, chunk=chunk)))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-9)


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 8))
def test_the_score_before_is_that_of_a_count_without_the_last_runs(seed: int, chunk: int, last: int) -> None:
    labels, runs = drawn(seed, pairs=4)
    parts = list(tally(labels, 4, runs, last=last, chunk=chunk))
    if last == len(runs):
        assert all(part.score_before is None for part in parts)
        return
    before = np.concatenate([part.score_before for part in parts])
    np.testing.assert_array_equal(before, joined(list(tally(labels, 4, runs[:-last])))["score"])
    np.testing.assert_array_equal(joined(parts)["score"], joined(list(tally(labels, 4, runs)))["score"])


@given(st.integers(0, 1000))
@example(920)  # a draw between the given label and another
def test_against_a_plain_count(seed: int) -> None:
    labels, runs = drawn(seed, n=12)
    counted = joined(list(tally(labels, 4, runs)))
    for image, label in enumerate(labels):
        rows = [p[list(r).index(image)].astype(float) for r, p in (run(0, 12) for run in runs) if image in r]
        assert counted["predictions"][image] == len(rows) == 3
        mean = np.mean(rows, axis=0)
        drawn_with_given = [row[label] == row.max() for row in rows]
        votes = [
            sum(
                not draw and int(row.argmax()) == other
                for row, draw in zip(rows, drawn_with_given, strict=True)
            )
            for other in range(4)
        ]
        others = [other for other in range(4) if other != label]
        best = max(others, key=lambda other: (votes[other], mean[other]))
        assert counted["suggested"][image] == best
        assert counted["votes"][image] == votes[best]
        assert counted["p_given"][image] == pytest.approx(mean[label])
        assert counted["p_suggested"][image] == pytest.approx(mean[best])
        assert counted["p_other"][image] == pytest.approx(max(mean[other] for other in others))
        expected = np.log(counted["p_other"][image] + EPSILON) - np.log(mean[label] + EPSILON)
        assert counted["score"][image] == pytest.approx(expected)


def test_a_draw_with_the_given_label_is_no_vote() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    assert most_probable(probabilities, np.array([0, 1, 1])).tolist() == [0, 1, 2]


def test_a_draw_with_the_given_label_is_no_agreement() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.2, 0.5, 0.3]])
    assert agrees(probabilities, np.array([0, 1, 1, 1])).tolist() == [False, False, False, True]


def test_certainty_gives_a_finite_score() -> None:
    (part,) = tally(np.array([0]), 2, [run_of(np.array([0]), np.array([[0.0, 1.0]]))])
    assert part.score[0] == pytest.approx(np.log((1 + EPSILON) / EPSILON))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1).filter(lambda r: any(w for _, w in r))
)
def test_average_precision_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="the reference is scikit-learn's")
    scores, wrong = zip(*rows, strict=True)
    assert average_precision(scores, wrong) == pytest.approx(metrics.average_precision_score(wrong, scores))


def test_average_precision_without_errors_is_not_a_number() -> None:
    assert np.isnan(average_precision([1, 2], [False, False]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40))
def test_a_label_is_contradicted_by_the_most_frequent_other_of_identical_images(
    rows: list[tuple[int, int]],
) -> None:
    labels = np.array([label for label, _ in rows], np.int64)
    found = contradictions(labels, np.array([content for _, content in rows]))
    for (label, content), at in zip(rows, found.tolist(), strict=True):
        others = [one for one, same in rows if same == content and one != label]
        if others:
            other = rows[at][0]
            assert others.count(other) == max(others.count(one) for one in others)
            assert at == rows.index((other, content))
        else:
            assert at == -1


def test_a_contradicted_image_is_suggested_the_other_label_with_its_votes() -> None:
    labels = np.array([0, 0, 0])
    runs = [run_of(np.arange(3), np.array([[0.1, 0.3, 0.6], [0.1, 0.6, 0.3], [0.8, 0.1, 0.1]]))] * 3
    (counted,) = tally(labels, 3, runs, others=np.array([1, 1, -1]))
    assert counted.suggested.tolist()[:2] == [1, 1]
    assert counted.votes.tolist() == [0, 3, 0]
    assert counted.p_suggested == pytest.approx([0.3, 0.6, 0.1])
    assert counted.p_other == pytest.approx([0.6, 0.6, 0.1])
    assert counted.contradicted.tolist() == [True, True, False]
