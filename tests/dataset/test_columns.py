"""Columns: they answer as the list of their texts does, also when they lie in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from dupekit.api import Images
from dupekit.dataset.columns import BLOCK, DigestColumn, StrColumn, TextColumn, TextWriter, numbered, take

TEXTS = ["a/b.png", "", "ä/ö 漢字.png", "x" * 300, *(f"class/{i:05}.png" for i in range(2 * BLOCK))]
DIGESTS = [sha256(text.encode()).hexdigest() for text in TEXTS]
COLUMNS: list[tuple[Callable[[Sequence[str]], StrColumn], list[str]]] = [
    (TextColumn.of, TEXTS),
    (DigestColumn.of, DIGESTS),
    (lambda texts: TextColumn.of(["before", *texts])[1:], TEXTS),
]


@pytest.mark.parametrize(("make", "texts"), COLUMNS, ids=["texts", "digests", "part of texts"])
@pytest.mark.parametrize(
    "part",
    [
        slice(None),
        slice(2, 7),
        slice(-3, None),
        slice(9, 3),
        slice(None, None, -1),
        slice(1, 9000, 7),
        slice(0, 0),
    ],
    ids=str,
)
def test_a_column_is_as_its_list(
    make: Callable[[Sequence[str]], StrColumn], texts: list[str], part: slice
) -> None:
    column, expected = make(texts)[part], texts[part]
    assert list(column) == expected
    assert len(column) == len(expected)
    rows = [
        row
        for row in (3, 0, -1, 3, -len(expected), len(expected) - 1)
        if -len(expected) <= row < len(expected)
    ]
    assert [column[row] for row in rows] == list(column.take(rows)) == [expected[row] for row in rows]
    assert list(column[1:][1:3]) == expected[1:][1:3]
    for beyond in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            column[beyond]
        with pytest.raises(IndexError):
            column.take([beyond])


@pytest.mark.parametrize("make", [TextColumn.of, DigestColumn.of])
def test_a_column_may_be_empty(make: Callable[[Sequence[str]], StrColumn]) -> None:
    column = make([])
    assert [*column, *column[:5], *column.take([])] == []


def test_many_rows_are_taken_in_any_order() -> None:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    for make, texts in COLUMNS:
        assert list(make(texts).take(order)) == [texts[row] for row in order.tolist()]


def test_a_mask_is_no_list_of_positions() -> None:
    with pytest.raises(IndexError, match="mask"):
        TextColumn.of(["a", "b"]).take([True, False])


def test_columns_lie_in_a_file(tmp_path: Path) -> None:
    column = TextColumn.of(TEXTS)
    (tmp_path / "data").write_bytes(b"?" + column.data.tobytes())
    mapped = TextColumn(np.memmap(tmp_path / "data", np.uint8, "r", offset=1), column.ends)
    assert list(mapped) == TEXTS
    assert list(mapped.take([2, 0])) == [TEXTS[2], TEXTS[0]]
    (tmp_path / "digests").write_bytes(b"?" + DigestColumn.of(DIGESTS).values.tobytes())
    values = np.memmap(tmp_path / "digests", np.uint8, "r", offset=1, shape=(len(DIGESTS), 32))
    assert list(DigestColumn(values)) == DIGESTS
    assert np.argsort(DigestColumn(values).keys).tolist() == sorted(
        range(len(DIGESTS)), key=DIGESTS.__getitem__
    )


def test_texts_are_written_as_they_come() -> None:
    writer = TextWriter()
    writer.append("a")
    writer.extend(["", "ö"])
    assert list(writer.column()) == ["a", "", "ö"]


@pytest.mark.parametrize("digest", ["ab", "g" * 64, "a" * 66, "ä" * 64, "aa " * 20 + "aaaa"])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match=r"digest|hexadecimal"):
        DigestColumn.of([digest] * 16)


def test_a_digest_that_ends_in_zeros_is_found() -> None:
    digests = sorted(["00" * 32, "ab" + "00" * 31, "ab" * 32, "ab" * 31 + "00"])
    keys = DigestColumn.of(digests).keys
    assert np.searchsorted(keys, keys).tolist() == [0, 1, 2, 3]
    assert len(np.unique(keys)) == 4


def test_images_take_columns_of_columns_and_lists_of_lists() -> None:
    sizes = np.ones((len(TEXTS), 2), np.int32)
    images = Images(Path("data"), TextColumn.of(TEXTS), DigestColumn.of(DIGESTS), sizes)
    taken = images.take([2, 0])
    assert isinstance(taken.paths, TextColumn)
    assert isinstance(taken.digests, DigestColumn)
    assert (taken[0].file, taken[0].digest) == (Path("data") / TEXTS[2], DIGESTS[2])
    assert (list(images[2:4].paths), list(images[2:4].digests)) == (TEXTS[2:4], DIGESTS[2:4])
    assert take(TEXTS, [2, 0]) == [TEXTS[2], TEXTS[0]]


@pytest.mark.parametrize("beginning", ["", "ab" * 8])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_equal_digests_have_equal_numbers_in_the_digests_order(beginning: str, count: int) -> None:
    """Also where the first eight bytes of different ones are alike."""
    different = [beginning + sha256(str(i).encode()).hexdigest()[len(beginning) :] for i in range(count)]
    digests = [*different, *different[::3], *different[::-7]]
    expected = [sorted(different).index(digest) for digest in digests]
    assert numbered(DigestColumn.of(digests)).tolist() == numbered(digests).tolist() == expected
