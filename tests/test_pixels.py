from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dupekit.dataset.pixels import border_colour, fit, open_image, square_pixels, to_array
from dupekit.errors import ImageError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def grey(content: bytes) -> np.ndarray:
    return to_array(open_image(content), channels=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_8_bit(mode: str, channels: int) -> None:
    kind = "TIFF" if mode in ("CMYK", "F", "I") else "PNG"
    base = Image.new("L", (6, 4), 200)
    image = Image.fromarray(np.full((4, 6), 200 * 256, np.uint16)) if mode == "I;16" else base.convert(mode)
    array = to_array(open_image(encoded(image, kind)), channels=channels)
    assert array.shape == (4, 6, channels)
    assert array.dtype == np.uint8


def test_16_bit_keeps_its_contrast() -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    array = grey(encoded(Image.fromarray(values)))[:, :, 0]
    assert array.min() == 0
    assert array.max() == 255
    assert len(np.unique(array)) > 60


def test_12_bit_in_16_is_not_black() -> None:
    values = np.full((4, 4), 4000, np.uint16)
    assert grey(encoded(Image.fromarray(values))).mean() == 250


def test_transparency_is_laid_over_the_border_colour() -> None:
    image = Image.new("RGBA", (9, 9), (250, 250, 250, 255))
    image.putpixel((4, 4), (0, 0, 0, 0))
    assert grey(encoded(image))[4, 4, 0] == 250


def test_exif_rotation_is_applied() -> None:
    image = Image.new("L", (10, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encoded(image, "JPEG", exif=exif)).size == (4, 10)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("L", (5, 5), value) for value in (10, 240)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert grey(content).max() == 10


def test_one_pixel_is_an_image() -> None:
    assert (
        square_pixels(encoded(Image.new("L", (1, 1), 77)), size_px=8, channels=1).tolist() == [[[77]] * 8] * 8
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_files_are_found(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    open_image(content)
    with pytest.raises(ImageError):
        open_image(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"no image", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_said(content: bytes) -> None:
    with pytest.raises(ImageError):
        open_image(content)


def test_formats_that_are_not_wanted_are_not_tried() -> None:
    with pytest.raises(ImageError, match="known format"):
        open_image(encoded(Image.new("L", (4, 4)), "PPM"))


def test_bombs_are_refused_before_decoding() -> None:
    content = encoded(Image.new("1", (20000, 20000)))  # 50 kB that would take 400 million pixels
    with pytest.raises(ImageError, match="pixels"):
        open_image(content)
    with pytest.raises(ImageError, match="10 x 10 pixels are more than the limit of 99"):
        open_image(encoded(Image.new("L", (10, 10))), max_pixels=99)


@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from([8, 17, 32]), st.sampled_from([1, 3]))
def test_fitting_keeps_the_aspect_ratio(width: int, height: int, size: int, channels: int) -> None:
    array = np.zeros((height, width, channels), np.uint8)
    array[0, 0] = 9
    square = fit(array, size)
    assert square.shape == (size, size, channels)


def test_stretching_fills_the_square() -> None:
    array = np.repeat(np.array([[10, 200]], np.uint8), 40, axis=0)[:, :, None].repeat(10, axis=1)  # 40 x 20
    stretched = fit(array, 8, "stretch")
    assert stretched.shape == (8, 8, 1)
    assert (stretched[:, 0] == 10).all()
    assert (stretched[:, -1] == 200).all()
    padded = fit(array, 8)
    assert len(np.unique(padded[:, :2])) == 1  # the border's colour, not the image


def test_padding_has_the_border_colour() -> None:
    array = np.full((10, 20, 1), 240, np.uint8)
    array[3:7, 5:15] = 0
    square = fit(array, 40)
    assert border_colour(array) == [240]
    assert (square[:10] == 240).all()
    assert (square[30:] == 240).all()
    assert square[20, 20, 0] == 0
