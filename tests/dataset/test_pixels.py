from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dupekit.dataset.image_file import open_image
from dupekit.dataset.pixels import border_colour, fit, is_one_colour, square_pixels, to_array
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


def drawing(ground: int, ink: int) -> Image.Image:
    """An ink cross on transparent ground, whose hidden colour is the ink's."""
    array = np.zeros((20, 20, 4), np.uint8)
    array[..., :3] = ink
    array[9:11, 3:17, 3] = array[3:17, 9:11, 3] = 255
    array[..., 3] = np.maximum(array[..., 3], ground)
    return Image.fromarray(array)


@pytest.mark.parametrize("ink", [0, 60, 200, 255])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "LA"])
def test_a_drawing_on_transparent_ground_is_seen(kind: str, ink: int) -> None:
    image = drawing(0, ink)
    if kind == "LA":
        image, kind = image.convert("LA"), "PNG"
    options = {"lossless": True} if kind == "WEBP" else {}
    opened = open_image(encoded(image, kind, **options))
    array = to_array(opened, channels=1)[..., 0].astype(int)
    assert abs(array[10, 10] - array[0, 0]) > 50
    assert not is_one_colour(opened)


def test_a_colour_key_is_transparent_too() -> None:
    grey_key = Image.new("L", (8, 8), 30)
    grey_key.putpixel((4, 4), 31)
    array = grey(encoded(grey_key, transparency=30))[..., 0].astype(int)
    assert abs(array[4, 4] - array[0, 0]) > 50


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PNG"])
def test_an_alpha_that_is_nought_throughout_means_nothing(kind: str) -> None:
    array = np.zeros((8, 8, 4), np.uint8)
    array[..., 0] = np.arange(8) * 30
    opened = open_image(encoded(Image.fromarray(array), kind))
    assert len(np.unique(to_array(opened, channels=3)[..., 0])) == 8


def test_what_shows_nothing_is_known() -> None:
    assert is_one_colour(open_image(encoded(Image.new("RGB", (5, 5), (9, 9, 9)))))
    assert is_one_colour(open_image(encoded(Image.new("L", (1, 1), 9))))
    spot = Image.new("L", (5, 5), 9)
    spot.putpixel((2, 2), 10)
    assert not is_one_colour(open_image(encoded(spot)))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_16(array: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    height, width, channels = array.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    chunks = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_16(array: np.ndarray, order: str, *, packed: bool) -> bytes:
    """A TIFF of 16 bits a channel, in either byte order, plain or deflated."""
    height, width, channels = array.shape
    body = array.astype(f"{order}u2").tobytes()
    body = zlib.compress(body) if packed else body
    bits_at = 8 + len(body)
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    directory_at = bits_at + len(bits) + (bits_at + len(bits)) % 2
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits_at), (259, 3, 1, 8 if packed else 1),
        (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(body)),
        (284, 3, 1, 1),
    ]  # fmt: skip
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory_at) + body + bits
    out = out.ljust(directory_at, b"\0") + struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        held = (
            struct.pack(f"{order}HH", value, 0)
            if kind == 3 and count == 1
            else struct.pack(f"{order}I", value)
        )
        out += struct.pack(f"{order}HHI", tag, kind, count) + held
    return out + struct.pack(f"{order}I", 0)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "png with alpha", "<", ">", "< packed", "> packed"])
def test_deep_colours_are_not_black(kind: str, bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, 192).astype(np.uint16).reshape(8, 8, 3)
    if kind == "png with alpha":
        content = png_16(np.concatenate([values, np.full((8, 8, 1), 65535, np.uint16)], axis=2))
    elif kind == "png":
        content = png_16(values)
    else:
        content = tiff_16(values, kind[0], packed="packed" in kind)
    array = to_array(open_image(content), channels=3)
    assert array.max() == 255
    assert array.min() == 0
    assert len(np.unique(array)) > 150


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_a_value_that_is_not_finite_flattens_nothing(odd: float) -> None:
    values = np.linspace(-3, 3, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = odd
    array = grey(encoded(Image.fromarray(values), "TIFF"))[..., 0]
    assert len(np.unique(array)) > 50
    assert array[0, 0] == 0


@pytest.mark.parametrize("mode", ["F", "I"])
def test_no_data_flattens_nothing(mode: str) -> None:
    values = np.linspace(100, 163, 64).reshape(8, 8).astype(np.float32 if mode == "F" else np.int32)
    values[0, 0] = -99999
    content = encoded(Image.fromarray(values), "TIFF", tiffinfo={42113: "-99999"})
    array = grey(content)[..., 0]
    assert len(np.unique(array)) > 50
    assert array[0, 0] <= array[array > 0].min()


@pytest.mark.parametrize("no_data", ["-9999", "1e300", "nan", "55537.5", "1e5"])
def test_a_no_data_value_that_no_pixel_can_have_hides_none(no_data: str) -> None:
    """Of 16 bits -9999 was taken for 55537."""
    values = np.linspace(55000, 56000, 64).reshape(8, 8).astype(np.uint16)
    values[0, 0] = 55537
    plain, tagged = (
        grey(encoded(Image.fromarray(values), "TIFF", **tags))
        for tags in ({}, {"tiffinfo": {42113: no_data}})
    )
    assert (tagged == plain).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_a_number_whatever_stands_beside_it(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9286] = b"\xff\xfe"
    for orientation, size in ((6, (4, 10)), (1, (10, 4)), (99, (10, 4))):
        exif[0x0112] = orientation
        assert open_image(encoded(Image.new("L", (10, 4)), kind, exif=exif)).size == size
    # A tag of a type that there is not, before the orientation.
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack(
        "<H" + "HHII" * 2 + "I", 2, 0x0110, 77, 99, 9, 0x0112, 3, 1, 6, 0
    )
    if kind == "JPEG":
        assert open_image(encoded(Image.new("L", (10, 4)), kind, exif=block)).size == (4, 10)


@pytest.mark.parametrize("chunk", ["zTXt", "iTXt", "tEXt", "iCCP"])
def test_large_metadata_of_a_png_exclude_nothing(chunk: str) -> None:
    packed = zlib.compress(b"x" * 3_000_000)
    data = {
        "zTXt": b"note\0\0" + packed,
        "iTXt": b"note\0\1\0\0\0" + packed,
        "tEXt": b"note\0" + b"x" * 70_000_000,
        "iCCP": b"profile\0\0" + packed,
    }[chunk]
    plain = encoded(Image.new("L", (6, 4), 99))
    content = plain[:33] + png_chunk(chunk.encode(), data) + plain[33:]
    assert (grey(content) == 99).all()
    with pytest.raises(ImageError):  # what is cut off is found all the same
        open_image(content[: len(content) - len(plain) + 40])


def test_the_limit_of_pillow_is_nobody_else_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert open_image(encoded(Image.new("L", (30, 30)), "TIFF")).size == (30, 30)
    assert Image.MAX_IMAGE_PIXELS == 50


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


@pytest.mark.parametrize("kind", ["transparent", "float"])
def test_what_an_image_takes_in_memory_is_little(kind: str) -> None:
    """An image of 50 million pixels shall be shown, too: transparent ones took 40 bytes a pixel beside Pillow's own."""
    side = 700
    values = np.random.default_rng(0).integers(0, 256, (side, side, 4), dtype=np.uint8)
    values[[0, -1]] = values[:, [0, -1]] = 0  # nothing visible at the border
    image = Image.fromarray(values if kind == "transparent" else values[:, :, 0].astype(np.float32))
    to_array(image, channels=3)  # what is loaded once is loaded
    tracemalloc.start()
    try:
        to_array(image, channels=3)
        assert tracemalloc.get_traced_memory()[1] < 16 * side**2
    finally:
        tracemalloc.stop()
