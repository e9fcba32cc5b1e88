from __future__ import annotations

import pytest

from dupekit.rounds.confusion import Confused, confusion

FOUND = [
    Confused("a", "a", 90),
    Confused("a", "b", 2),
    Confused("a", "c", 8),
    Confused("b", "a", 1),
    Confused("b", "b", 9),
]


def test_predictions_are_counted_by_given_and_predicted_class() -> None:
    found = confusion(["a", "b", "c"], FOUND)
    assert found.counts.tolist() == [[90, 2, 8], [1, 9, 0], [0, 0, 0]]


def test_usual_confusions_are_other_classes_most_frequent_first() -> None:
    found = confusion(["a", "b", "c"], FOUND)
    assert found.usual("a", 5) == ["c", "b"]
    assert found.usual("a", 1) == ["c"]
    assert found.usual("a", 5, least=0.05) == ["c"]
    assert found.usual("c", 5) == []
    assert found.usual("nowhere", 5) == []


def test_a_class_that_is_not_there_is_no_column() -> None:
    with pytest.raises(KeyError):
        confusion(["a"], FOUND)
