"""Images: columns from which rows are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dupekit.api import Images

IMAGES = Images(Path("data"), ["a", "b", "c"], ["0", "1", "2"], np.array([[1, 2], [3, 4], [5, 6]], np.int32))


@pytest.mark.parametrize(
    ("rows", "paths"),
    [
        ([2, 0], ["c", "a"]),
        (np.array([1, 1]), ["b", "b"]),
        ([], []),
        (np.array([True, False, True]), ["a", "c"]),
        ([False, False, True], ["c"]),
    ],
)
def test_rows_are_taken_by_number_or_mask(rows: object, paths: list[str]) -> None:
    taken = IMAGES.take(rows)
    assert taken.paths == paths
    assert taken.sizes.tolist() == [IMAGES.sizes[IMAGES.paths.index(path)].tolist() for path in paths]


@pytest.mark.parametrize("mask", [[True], [True, False, True, True], [[True, False, True]]])
def test_a_mask_of_another_length_is_refused(mask: list[object]) -> None:
    with pytest.raises(ValueError, match=r"a mask of shape .* for 3 images"):
        IMAGES.take(mask)
