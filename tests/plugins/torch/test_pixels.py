"""Pixels on their way to a network: where they lie, what is found in them, how a batch is drawn and moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit.api import Images
from dupekit.files.write import digest_file
from tests.plugins.torch.support import Dataset

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from dupekit_torch.pixels import augment, source, statistics  # noqa: E402
from dupekit_torch.pixels.batches import Batch, TrainingSet, batches  # noqa: E402
from dupekit_torch.pixels.symmetries import symmetries  # noqa: E402


def test_pixels_are_held_where_they_fit(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = few.cache.pixels(few.pool, size_px=16, channels=1)
    device = torch.device("cpu")
    assert isinstance(source.source(rows, device, "auto"), source.Resident)
    monkeypatch.setitem(source.RESIDENT_SHARE, "cpu", 1e-12)
    assert isinstance(source.source(rows, device, "auto"), source.Streamed)
    assert isinstance(source.source(rows, device, "resident"), source.Resident)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(source, "Resident", full)
    assert isinstance(source.source(rows, device, "resident"), source.Streamed)


def test_grey_stored_as_colour_jpeg_is_grey(few: Dataset, tmp_path: Path) -> None:
    for path in few.pool.paths:
        file = few.pool.root / path
        PillowImage.open(file).convert("RGB").save(file, "JPEG", quality=80)
    images = replace(few.pool, digests=[digest_file(few.pool.root / path) for path in few.pool.paths])
    assert statistics.is_grey(images, few.cache)


@pytest.mark.parametrize(("longest", "expected"), [(5, 32), (47, 48), (53, 56), (900, 64)])
def test_image_size_is_near_the_median(longest: int, expected: int) -> None:
    sizes = np.array([[4, longest], [longest, 3], [2, 5000]], np.int32)
    pool = Images(Path(), ["a", "b", "c"], ["1", "2", "3"], sizes)
    assert statistics.typical_size(pool, low=32, high=64) == expected


@pytest.mark.parametrize("code", range(8))
def test_symmetries_are_those_of_the_square(code: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    expected = image.swapaxes(0, 1) if code & 4 else image
    # The new image's row y is read from row s-1-y, or from column s-1-y where rows and columns swap.
    expected = expected[::-1] if code & 2 else expected
    expected = expected[:, ::-1] if code & 1 else expected
    batch = torch.from_numpy(np.stack([image, image[::-1].copy()]))
    codes = torch.tensor([code, 0])
    moved = augment.move(batch, codes, torch.zeros(2, 2, dtype=torch.int64)).numpy()
    np.testing.assert_array_equal(moved[0], expected)
    np.testing.assert_array_equal(moved[1], image[::-1])
    view = augment.views(batch[:1].permute(0, 3, 1, 2), [0, code])
    assert torch.equal(view[1], torch.from_numpy(moved[0]).permute(2, 0, 1))


def test_turns_without_mirrors_are_the_four_turns() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 1), dtype=np.uint8)
    codes = torch.tensor(symmetries(flips="none", rotations=True))
    batch = torch.from_numpy(image).expand(4, -1, -1, -1)
    moved = augment.move(batch, codes, torch.zeros(4, 2, dtype=torch.int64)).numpy()
    assert {one.tobytes() for one in moved} == {np.rot90(image, k).copy().tobytes() for k in range(4)}


def test_shifts_repeat_the_border() -> None:
    image = torch.arange(9).reshape(1, 3, 3, 1)
    moved = augment.move(image, torch.tensor([0]), torch.tensor([[1, -1]]))
    assert moved[0, :, :, 0].tolist() == [[3, 3, 4], [6, 6, 7], [6, 6, 7]]


@pytest.mark.parametrize(("flips", "rotations", "count"), [("both", True, 8), ("horizontal", False, 2)])
def test_each_symmetry_once_before_any_again(flips: str, rotations: bool, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    moves = augment.Moves(augment.Augmentation(symmetries(flips=flips, rotations=rotations)), 50, generator)
    rows = torch.arange(50)
    seen = torch.stack([moves.draw(rows, visit)[0] for visit in range(count)])
    assert (seen.sort(0).values == torch.arange(count)[:, None]).all()
    assert len(set(seen[0].tolist())) == count


class Numbers:
    """A source whose pixels are the rows themselves."""

    device = index_device = torch.device("cpu")

    def batches(self, drawn: Any) -> Any:
        return drawn


@pytest.mark.parametrize("size", [4, 23])
def test_batches_are_equal_and_show_every_image_equally_often(size: int) -> None:
    numbers = torch.arange(10)
    of_run = TrainingSet(Numbers(), 100 + numbers, numbers, numbers / 10, torch.stack([numbers, -numbers], 1))
    moved = augment.Augmentation(symmetries(flips="both", rotations=True), 1)
    drawn = list(batches(of_run, moved, size=size, count=20, seed=1))
    assert len(drawn) == 20
    assert {len(column) for batch in drawn for column in batch} == {size}
    seen = Batch(*(torch.cat(column) for column in zip(*drawn, strict=True)))
    rows = seen.pixels
    epochs = [rows[at : at + 10].tolist() for at in range(0, len(rows) - 9, 10)]
    assert all(sorted(epoch) == list(range(100, 110)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    # What belongs to an image stays with it.
    assert (seen.labels == rows - 100).all()
    assert torch.equal(seen.weights, seen.labels / 10)
    assert torch.equal(seen.sizes, torch.stack([seen.labels, -seen.labels], 1))
    assert seen.shifts.unique().tolist() == [-1, 0, 1]
    assert sorted(seen.codes[rows == 100][:8].tolist()) == list(range(8))
