"""Which image a name means, and how predictions are dealt into layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.exchange.layers import layers
from dupekit.exchange.match import ImageNames, known_class

ROI = "D20140117T003426_IFCB014_00123"
PATHS = [
    f"Amphidinium/{ROI}.png",
    "Amphidinium/x.png",
    "Ciliate/x.png",
    "Ciliate/deep/x.png",
    "Ciliate/a\\\\b\\n.png",
]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("Amphidinium/x.png", 1),
        ("./Ciliate/x.png", 2),
        ("Ciliate/deep/x.png", 3),
        ("/data/set/Ciliate/deep/x.png", 3),
        ("/hpc/elsewhere/Amphidinium/x.png", 1),
        ("training/Amphidinium/x.png", 1),
        ("C:\\Users\\me\\Amphidinium\\x.png", 1),
        (f"{ROI}.png", 0),
        (ROI, 0),
        ("Ciliate/a\\\\b\\n.png", 4),  # escaped, as dupekit prints it
        ("Ciliate/a\\b\n.png", 4),  # as on disk
        ("x.png", None),
        ("x", None),
        ("deep/x.png", -1),
        ("amphidinium/x.png", -1),
        ("Amphidinium/x", -1),
        ("", -1),
        ("/", -1),
    ],
)
def test_a_name_means_one_image_or_none(name: str, row: int | None) -> None:
    found = ImageNames(PATHS, root=Path("/data/set")).match([name])
    if row is None:
        assert found.ambiguous == {name: PATHS[1:4]}
    else:
        assert found.rows.tolist() == [row]
        assert found.unknown == ([name] if row < 0 else [])
        assert not found.ambiguous


def test_a_class_escaped_or_not() -> None:
    known = {"a", "b\\\\c"}
    assert [known_class(name, known) for name in ("a", "b\\c", "b\\\\c", "A")] == [
        "a",
        "b\\\\c",
        "b\\\\c",
        None,
    ]


@given(st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=6))
def test_each_prediction_is_in_one_layer_and_each_image_once_a_layer(files: list[set[int]]) -> None:
    rows = [np.array([*sorted(images), -1], np.int64) for images in files]
    dealt = layers(rows, 10)
    count = [sum(image in images for images in files) for image in range(10)]
    assert len(dealt) == max(count)
    seen = set()
    for number, parts in enumerate(dealt):
        of = np.concatenate([part.rows for part in parts]).tolist()
        assert len(set(of)) == len(of)
        assert set(of) == {image for image in range(10) if count[image] > number}
        for part in parts:
            assert rows[part.file][part.at].tolist() == part.rows.tolist()
            seen |= {(part.file, image) for image in part.rows.tolist()}
    assert seen == {(file, image) for file, images in enumerate(files) for image in images}


def test_folds_are_one_layer_and_pairs_of_halves_as_many_as_pairs() -> None:
    halves = [np.arange(6), np.arange(6, 12)]
    assert len(layers([np.arange(start, 12, 5) for start in range(5)], 12)) == 1
    dealt = layers([*halves, *halves[::-1], *halves], 12)
    assert [[part.file for part in parts] for parts in dealt] == [[0, 1], [2, 3], [4, 5]]
