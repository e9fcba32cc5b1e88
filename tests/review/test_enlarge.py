"""Enlarged copies: by how much, and that they show what a viewer shows of the image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dupekit.errors import ImageError, UsageError
from dupekit.review.enlarge import COPY_MAX_PIXELS, enlarged, factor_for


def sizes(*found: tuple[int, int]) -> np.ndarray:
    return np.array(found, np.int64)


@pytest.mark.parametrize(
    ("longer", "factor"), [(8, 25), (41, 5), (65, 3), (100, 2), (130, 2), (140, 1), (200, 1), (5000, 1)]
)
def test_the_median_of_the_longer_sides_comes_near_200(longer: int, factor: int) -> None:
    assert (
        factor_for(None, sizes((longer // 2, longer), (longer, 3), (2, 2), (longer, 7), (3, longer)))
        == factor
    )


def test_no_copy_becomes_too_large() -> None:
    found = sizes((40, 50), (50, 40), (2000, 1500))
    assert factor_for(None, found) == 4
    assert COPY_MAX_PIXELS < 3_000_000 * 5**2
    assert factor_for(4, found) == 4
    with pytest.raises(
        UsageError, match="Enlarged 5 times, the largest of these images would have 75 million"
    ) as caught:
        factor_for(5, found)
    assert caught.value.hint == "Name a factor up to 4."
    # An image as large as the limit allows no factor, and one asks for none.
    assert factor_for(None, sizes((10, 10), (10, 10), (10_000, 9_000))) == 1
    assert factor_for(1, sizes((10_000, 9_000))) == 1


def test_of_no_images_there_is_nothing_to_enlarge() -> None:
    assert factor_for(None, sizes().reshape(0, 2)) == 1


def written(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(content: bytes, factor: int = 2) -> Image.Image:
    image = Image.open(io.BytesIO(enlarged(content, factor, max_pixels=10_000)))
    image.load()
    assert image.format == "PNG"
    return image


def halves(mode: str, dark: object, bright: object) -> Image.Image:
    """Dark above, bright below; 6 wide and 8 high."""
    image = Image.new(mode, (6, 8), dark)
    image.paste(bright, (0, 4, 6, 8))
    return image


def test_grey_of_16_bits_does_not_come_out_black_or_white() -> None:
    deep = Image.fromarray(np.repeat(np.array([[100], [4000]], np.uint16), 6, axis=1).repeat(4, axis=0))
    image = shown(written(deep))
    assert (image.mode, image.size) == ("L", (12, 16))
    assert image.getpixel((5, 0)) == 100 >> 4
    assert image.getpixel((5, 15)) == 4000 >> 4


@pytest.mark.parametrize(
    ("image", "mode", "dark", "bright"),
    [
        (halves("1", 0, 1), "L", 0, 255),
        (halves("L", 9, 200), "L", 9, 200),
        (halves("LA", (9, 255), (200, 255)), "RGB", (9, 9, 9), (200, 200, 200)),
        (halves("RGB", (9, 0, 0), (0, 0, 200)), "RGB", (9, 0, 0), (0, 0, 200)),
        (halves("RGBA", (9, 0, 0, 255), (0, 0, 200, 255)), "RGB", (9, 0, 0), (0, 0, 200)),
        (halves("RGB", (9, 0, 0), (0, 0, 200)).quantize(2), "RGB", (9, 0, 0), (0, 0, 200)),
    ],
)
def test_every_mode_is_shown_as_it_is(image: Image.Image, mode: str, dark: object, bright: object) -> None:
    copy = shown(written(image), 3)
    assert (copy.mode, copy.size) == (mode, (18, 24))
    assert (copy.getpixel((9, 1)), copy.getpixel((9, 22))) == (dark, bright)


def test_what_is_transparent_is_laid_on_the_colour_around_it() -> None:
    image = Image.new("RGBA", (6, 8), (200, 200, 200, 255))
    image.paste((0, 0, 0, 0), (2, 2, 4, 6))
    assert shown(written(image)).getpixel((6, 8)) == (200, 200, 200)


def test_what_lies_on_its_side_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = shown(written(halves("L", 0, 255), "JPEG", exif=exif, quality=95))
    assert image.size == (16, 12)
    assert image.getpixel((15, 6)) < 20  # what was above is on the right
    assert image.getpixel((0, 6)) > 235


def test_of_an_animation_the_first_frame_is_shown() -> None:
    frames = [halves("L", 0, 255), halves("L", 255, 0)]
    image = shown(written(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.size == (12, 16)
    assert image.convert("L").getpixel((6, 0)) == 0


def test_what_is_no_image_is_said() -> None:
    with pytest.raises(ImageError, match="not a readable image"):
        enlarged(b"no image", 2, max_pixels=10_000)
