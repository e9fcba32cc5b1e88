from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dupekit.dataset.pixels import fit, to_array
from dupekit.rounds.near_duplicates import SMALLEST_PX, SQUARE_PX, comparable, near_duplicates

Pixels = NDArray[np.uint8]


def blob(seed: int, *, width: int = 46, height: int = 40) -> Pixels:
    """A grey blob with some inner structure on plain ground, under noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]  # type: ignore[misc]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.5)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    body = np.exp(-3 * (along**2 + stretch * across**2))
    for _ in range(8):
        cx, cy = rng.uniform(-0.7, 0.7, 2)
        body += rng.uniform(-0.9, 0.9) * np.exp(-40 * ((x - cx) ** 2 + (y - cy) ** 2))
    return np.clip(235 - 150 * body + rng.normal(0, 3, body.shape), 0, 255).astype(np.uint8)


def groups_of(images: list[Pixels], digests: list[str] | None = None) -> list[int]:
    squares = np.stack([fit(image[:, :, None], SQUARE_PX, "shrink") for image in images])
    sizes = np.array([image.shape[::-1] for image in images])
    names = digests or [f"{number:064x}" for number in range(len(images))]
    return near_duplicates(squares[comparable(sizes, names)], sizes, names).tolist()


def jpeg(image: Pixels, quality: int = 75) -> Pixels:
    kept = io.BytesIO()
    PillowImage.fromarray(image).save(kept, "JPEG", quality=quality)
    return to_array(PillowImage.open(kept), channels=1)[:, :, 0]


def shifted(image: Pixels) -> Pixels:
    return np.pad(image, ((1, 0), (1, 0)), mode="edge")[:-1, :-1]


@pytest.mark.parametrize(
    "copy",
    [jpeg, shifted, np.fliplr, np.rot90, lambda image: image[1:, 1:], lambda image: jpeg(shifted(np.flipud(image)))],
    ids=["jpeg", "shifted", "mirrored", "turned", "cropped", "all three"],
)  # fmt: skip
def test_copies_are_found_among_blobs_and_nothing_else(copy: Callable[[Pixels], Pixels]) -> None:
    images = [blob(seed) for seed in range(300)]
    copies = [np.ascontiguousarray(copy(image)) for image in images[:100]]
    found = groups_of([*images, *copies])
    assert found[:300] == list(range(300))
    right = [group == row for row, group in enumerate(found[300:])]
    assert sum(right) >= 95
    assert all(group == 300 + row for row, group in enumerate(found[300:]) if not right[row])


def test_large_images_are_compared_too() -> None:
    images = [blob(seed, width=180, height=150) for seed in range(60)]
    found = groups_of([*images, *(jpeg(np.fliplr(image)) for image in images)])
    assert found == [*range(60), *range(60)]


def test_images_with_noise_of_their_own_are_others() -> None:
    rng = np.random.default_rng(0)
    plain = np.full((40, 40), 200)
    assert groups_of([(plain + rng.normal(0, 8, plain.shape)).astype(np.uint8) for _ in range(50)]) == [
        *range(50)
    ]


def test_of_tiny_images_only_identical_ones_are_a_group() -> None:
    image = blob(0, width=SMALLEST_PX + 6, height=SMALLEST_PX - 1)
    assert groups_of([image, jpeg(image, 95), image], ["aa" * 32, "bb" * 32, "aa" * 32]) == [0, 1, 0]
    image = blob(0, width=SMALLEST_PX, height=SMALLEST_PX)
    assert groups_of([image, jpeg(image, 95), image], ["aa" * 32, "bb" * 32, "aa" * 32]) == [0, 0, 0]


def test_likeness_does_not_lead_from_image_to_image_through_a_dataset() -> None:
    """Each is nearly the same as the next; the first is quite another than the last."""
    one, other = blob(1).astype(float), blob(2).astype(float)
    steps = [np.clip(one + (other - one) * share, 0, 255).astype(np.uint8) for share in np.linspace(0, 1, 61)]
    neighbours = [groups_of([*pair]) for pair in itertools.pairwise(steps)]
    assert neighbours == [[0, 0]] * 60
    found = groups_of(steps)
    sizes = np.bincount(found)
    assert sizes.max() > 1
    assert sizes.max() < 30
    assert found[0] != found[-1]


def test_many_copies_of_one_image_are_one_group() -> None:
    """More than are compared beside each other in the order of the hashes."""
    rng = np.random.default_rng(0)
    image = blob(0).astype(int)
    copies = [np.clip(image + rng.integers(-1, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(200)]
    others = [blob(seed) for seed in range(1, 101)]
    found = groups_of([*others, *copies])
    assert found == [*range(100), *[100] * 200]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=12))
def test_groups_hold_identical_images_and_are_named_after_their_first(rows: list[tuple[int, int]]) -> None:
    digests = [sha256(f"{image}-{version}".encode()).hexdigest() for image, version in rows]
    squares = np.zeros((len(rows), SQUARE_PX, SQUARE_PX, 1), np.uint8)
    for row, (image, version) in enumerate(rows):
        made = blob(image) if not version else jpeg(blob(image), 80 + version)
        squares[row] = fit(made[:, :, None], SQUARE_PX, "shrink")
    sizes = np.tile([46, 40], (len(rows), 1))
    found = near_duplicates(squares[comparable(sizes, digests)], sizes, digests)
    for row, group in enumerate(found.tolist()):
        assert group <= row
        assert found[group] == group
        assert digests.index(digests[row]) >= group
        assert found[digests.index(digests[row])] == group
    assert [rows[group][0] for group in found.tolist()] == [image for image, _ in rows]
