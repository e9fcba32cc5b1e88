"""Comparison: measures and tests against those of others, and what must hold of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupekit.rounds.comparison import Measure, by_class, compare, paired_t, t_tail
from dupekit.rounds.in_words import accuracy_in_words, points, probability

SEEDS = 5


def predictions(
    rng: np.random.Generator, truth: NDArray[np.int64], right: float, *, alike: float = 0.9
) -> NDArray[np.int64]:
    """Of five models that err on much the same images."""
    n_classes = int(truth.max()) + 1
    shared = np.where(rng.random(len(truth)) < right, truth, rng.integers(n_classes, size=len(truth)))
    own = [np.where(rng.random(len(truth)) < alike, shared, truth) for _ in range(SEEDS)]
    return np.stack(own)


def in_folds(predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same, where each image is tested by one of the seeds alone."""
    fold = np.arange(predicted.shape[1]) % SEEDS
    return np.where(np.arange(SEEDS)[:, None] == fold, predicted, -1)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(10, 60))
def test_the_measures_are_those_of_scikit_learn(seed: int, n_classes: int, n: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_classes, size=n)
    before, after = (rng.integers(n_classes, size=(1, n)) for _ in range(2))
    found = compare(truth, before, after, overlap=0, seed=0, draws=10)
    present = np.unique(truth)
    for predicted, values in (
        (before[0], {measure: one.before for measure, one in found.items()}),
        (after[0], {measure: one.after for measure, one in found.items()}),
    ):
        f1 = metrics.f1_score(truth, predicted, labels=present, average=None, zero_division=0)
        recall = metrics.recall_score(truth, predicted, labels=present, average=None, zero_division=0)
        assert values[Measure.ACCURACY] == pytest.approx(metrics.accuracy_score(truth, predicted))
        assert values[Measure.BALANCED_ACCURACY] == pytest.approx(recall.mean())
        assert values[Measure.MACRO_F1] == pytest.approx(f1.mean())
    classes = by_class(truth, before, after, n_classes=n_classes + 1)
    assert classes.recall_after[present] == pytest.approx(recall)
    assert classes.f1_after[present] == pytest.approx(f1)
    assert np.isnan(classes.recall_before[n_classes])
    assert np.isnan(classes.f1_before[n_classes])


@given(st.floats(-40, 40), st.integers(1, 60))
def test_the_tail_of_students_t_is_that_of_scipy(t: float, degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    # Beside 0 it is SciPy's that is rounded: at 1.9e-10, of one degree, to 1.
    assert t_tail(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), abs=1e-9)


def test_known_values_of_students_t() -> None:
    """From its tables: the 5 % points of 1, 4 and 9 degrees of freedom."""
    for degrees, point in ((1, 12.7062), (4, 2.7764), (9, 2.2622)):
        assert t_tail(point, degrees) == pytest.approx(0.05, abs=1e-5)
        assert t_tail(-point, degrees) == t_tail(point, degrees)
    assert t_tail(0, 4) == 1


def test_the_paired_t_test_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for n in (2, 5, 12):
        one, two = rng.normal(size=(2, n))
        assert paired_t(two - one) == pytest.approx(stats.ttest_rel(two, one).pvalue)


def test_pairs_that_share_training_images_are_trusted_less() -> None:
    differences = np.array([0.01, 0.02, 0.015, 0.03, 0.012])
    alone, shared = paired_t(differences), paired_t(differences, overlap=0.25)
    assert alone is not None
    assert shared is not None
    assert alone < 0.02 < shared
    assert paired_t(np.full(5, 0.1)) is None
    assert paired_t(np.array([0.1])) is None


def test_equal_predictions_differ_by_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=50)
    same = predictions(rng, truth, 0.8)
    for predicted in (same, in_folds(same)):
        for one in compare(truth, predicted, predicted, overlap=0, seed=0, draws=50).values():
            assert (one.difference, one.low, one.high, one.p_images, one.p_seeds) == (0, 0, 0, 1, None)
            assert not one.sure
            assert "too little" in accuracy_in_words(one)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.booleans())
def test_nothing_depends_on_the_order_of_the_images(seed: int, folds: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=40)
    before, after = predictions(rng, truth, 0.6), predictions(rng, truth, 0.7)
    if folds:
        before, after = in_folds(before), in_folds(after)
    order = rng.permutation(len(truth))
    expected = compare(truth, before, after, overlap=0.2, seed=1, draws=400)
    assert (
        compare(truth[order], before[:, order], after[:, order], overlap=0.2, seed=1, draws=400) == expected
    )
    other_way = compare(truth, after, before, overlap=0.2, seed=1, draws=400)
    for measure, one in expected.items():
        assert one.low <= one.difference <= one.high
        assert other_way[measure].difference == pytest.approx(-one.difference)
        assert other_way[measure].p_images == pytest.approx(one.p_images, abs=0.1)
        assert (other_way[measure].p_seeds or 0) == pytest.approx(one.p_seeds or 0)


def test_each_image_counts_once_whether_one_seed_tests_it_or_all() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=100)
    model = np.tile(predictions(rng, truth, 0.6)[:1], (SEEDS, 1))
    other = np.tile(predictions(rng, truth, 0.7)[:1], (SEEDS, 1))
    by_all = compare(truth, model, other, overlap=0, seed=0)
    by_one = compare(truth, in_folds(model), in_folds(other), overlap=0, seed=0)
    for measure in Measure:
        assert by_one[measure].before == pytest.approx(by_all[measure].before)
        assert by_one[measure].difference == pytest.approx(by_all[measure].difference)
        assert by_one[measure].p_images == pytest.approx(by_all[measure].p_images, abs=0.03)
        assert by_one[measure].low == pytest.approx(by_all[measure].low, abs=0.02)


def test_the_permutation_test_on_accuracy_is_the_sign_test() -> None:
    """With one model each, and images as many as differ: McNemar's exact test."""
    stats = pytest.importorskip("scipy.stats")
    for better, worse in ((12, 3), (8, 6), (20, 4)):
        truth = np.zeros(better + worse + 30, np.int64)
        truth[:10] = 1
        before = truth[None].copy()
        after = truth[None].copy()
        before[0, 10 : 10 + better] = 1
        after[0, 10 + better : 10 + better + worse] = 1
        found = compare(truth, before, after, overlap=0, seed=0)[Measure.ACCURACY]
        exact = stats.binomtest(better, better + worse).pvalue
        assert found.p_images == pytest.approx(exact, abs=0.03)
        assert found.difference == pytest.approx((better - worse) / len(truth))


@pytest.mark.parametrize("folds", [False, True])
def test_the_interval_holds_the_true_difference_and_the_test_cries_wolf_as_rarely_as_it_says(
    folds: bool,
) -> None:
    rng = np.random.default_rng(3)
    trials, covered, alarms = 60, 0, 0
    truth = np.arange(80) % 2
    for trial in range(trials):
        before = predictions(rng, truth, 0.6, alike=1)
        after = predictions(rng, truth, 0.8, alike=1)
        other = predictions(rng, truth, 0.6, alike=1)
        if folds:
            before, after, other = (in_folds(one) for one in (before, after, other))
        found = compare(truth, before, after, overlap=0, seed=trial, draws=200)[Measure.ACCURACY]
        covered += found.low <= 0.1 <= found.high  # of what is not right by design, half is by chance
        alarms += compare(truth, before, other, overlap=0, seed=trial, draws=200)[Measure.ACCURACY].sure
    assert covered >= 0.88 * trials
    assert alarms <= 0.12 * trials


def test_in_words() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(400) % 2
    worse, better = predictions(rng, truth, 0.5), predictions(rng, truth, 0.9)
    rose = accuracy_in_words(compare(truth, worse, better, overlap=0, seed=0, draws=200)[Measure.ACCURACY])
    fell = accuracy_in_words(compare(truth, better, worse, overlap=0, seed=0, draws=200)[Measure.ACCURACY])
    assert rose.startswith("Accuracy rose from 7")
    assert fell.startswith("Accuracy fell from 9")
    assert "-" not in rose + fell
    assert [points(one) for one in (0.0123, -0.0449, 0.0, -0.00001)] == ["+1.2", "-4.5", "+0.0", "-0.0"]
    assert [probability(p) for p in (None, 0.0005, 0.031, 0.0994, 0.2, 1.0)] == [
        "-", "<.001", ".031", ".099", ".20", "1.00",
    ]  # fmt: skip
