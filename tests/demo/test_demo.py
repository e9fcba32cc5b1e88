from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.demo.planting import centroid_likeness, plant_errors
from dupekit.errors import UsageError
from dupekit.rounds.comparison import Measure


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the demo trains with the probe")
    pytest.importorskip("sklearn", reason="the demo's digits are scikit-learn's")
    from dupekit.demo.play import play

    said: list[str] = []
    played = play(tmp_path / "demo", say=said.append)
    assert played.images == 1797
    assert played.planted == 90
    assert played.found + played.missed == played.planted
    assert played.found > 0.8 * played.planted
    assert played.wrong_labels_after == played.missed  # the technician knows the truth of what was flagged
    accuracy = played.evaluation.measures[Measure.ACCURACY]
    assert accuracy.after > accuracy.before > 0.85
    assert accuracy.sure
    # What it says is what lies there.
    assert len(list((tmp_path / "demo" / "digits").rglob("*.png"))) == played.images
    assert (tmp_path / "demo" / "digits-corrected").is_dir()
    assert any("90 of them in a wrong folder" in line for line in said)


def test_the_demo_never_plays_in_a_folder_that_holds_something(tmp_path: Path) -> None:
    from dupekit.demo.play import play

    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="is not empty"):
        play(tmp_path)


@given(st.lists(st.integers(0, 4), min_size=40, max_size=200), st.integers(0, 100))
def test_planting_makes_as_many_errors_as_asked_for(labels: list[int], seed: int) -> None:
    planted = plant_errors(labels, np.eye(5), share=0.1, seed=seed)
    wrong = planted != np.array(labels)
    assert wrong.sum() == round(len(labels) * 0.1)
    assert (planted == plant_errors(labels, np.eye(5), share=0.1, seed=seed)).all()
    for label in set(labels):
        right = ((np.array(labels) == label) & ~wrong).sum()
        assert right >= min(2, labels.count(label))


def test_half_of_the_errors_are_confusions() -> None:
    features = np.array([[0.0], [1.0], [10.0]] * 200)
    labels = np.array([0, 1, 2] * 200)
    likeness = centroid_likeness(features, labels, 3)
    assert likeness[0].argsort().tolist() == [2, 1, 0]
    planted = plant_errors(labels, likeness, share=0.2, seed=0)
    from_zero = planted[(labels == 0) & (planted != 0)]
    assert (from_zero == 1).mean() > 0.6  # the nearest class, and half of the uniform ones
    assert (from_zero == 2).any()
