"""Decodes images of every kind to 8-bit arrays and fits them into squares.

Whatever the file holds (16-bit grey, palette, CMYK, transparency, an EXIF rotation, several frames), one
rule turns it into grey or RGB, so that a scan, a cache and every trainer see the same picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dupekit.dataset.image_file import MAX_PIXELS, NO_DATA, blocks, open_image
from dupekit.dataset.images import Fit

RULES = 3
"""The version of what this module does to an image. Raise it with every change after which some file gives other
pixels: it is part of the names of cached pixels and features, which are then made anew. Pillow's own rounding, a
level more or less from one release to another, is no such change."""

_VISIBLE = 128
"""Alpha from which on a pixel is more seen than not."""
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

_RESAMPLING = PillowImage.Resampling.BILINEAR  # Pillow's is antialiased when it shrinks


def to_array(image: PillowImage.Image, *, channels: int) -> NDArray[np.uint8]:
    """Grey (`channels=1`) or RGB (`channels=3`) pixels, shape (height, width, channels).

    More than 8 bits are scaled by the smallest even bit depth that holds the image's maximum, so that 12
    and 14-bit cameras do not come out black; 32-bit values by their own range, in which what is not finite, or stands
    for "no data", has no part. What is transparent gets the colour of the visible border, or one that contrasts with
    what is visible.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = PillowImage.fromarray(_to_8_bit(np.asarray(image), image.info.get(NO_DATA)))
    elif image.mode == "P" or image.has_transparency_data:
        image = _opaque(image)
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array.reshape(*array.shape[:2], channels)


def fit(array: NDArray[np.uint8], size_px: int, how: Fit = "pad") -> NDArray[np.uint8]:
    """Scales into a square of `size_px`; shape (size_px, size_px, channels).

    Where the aspect ratio is kept ("pad", "shrink"), what is left of the square is filled with the border's own colour,
    the median of its outermost pixels, so that a cut-out on a grey background gets no black bars. "shrink" leaves an image that
    is smaller than the square as it is.
    """
    height, width, channels = array.shape
    scale = size_px / max(height, width)
    if how == "shrink":
        scale = min(scale, 1.0)
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    if how == "stretch":
        new = (size_px, size_px)
    image = PillowImage.fromarray(array[:, :, 0] if channels == 1 else array)
    resized = np.asarray(image.resize(new, _RESAMPLING)).reshape(new[1], new[0], channels)
    square = np.empty((size_px, size_px, channels), np.uint8)
    square[:] = border_colour(array)
    top, left = (size_px - new[1]) // 2, (size_px - new[0]) // 2
    square[top : top + new[1], left : left + new[0]] = resized
    return square


def border_colour(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The median of the outermost pixels, shape (channels,)."""
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    colour: NDArray[np.uint8] = np.median(border, axis=0).astype(np.uint8)
    return colour


def square_pixels(
    content: bytes, *, size_px: int, channels: int, how: Fit = "pad", max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Decodes a file's content into a square: shape (size_px, size_px, channels), uint8. Raises as `open_image`."""
    return fit(to_array(open_image(content, max_pixels=max_pixels), channels=channels), size_px, how)


def is_one_colour(image: PillowImage.Image) -> bool:
    """Whether nothing can be seen in it: every pixel is alike, as models are given it."""
    if image.mode in ("L", "RGB") and not image.has_transparency_data:  # nearly all, and this is quick
        bands = np.reshape(image.getextrema(), (-1, 2))
        return bool((bands[:, 0] == bands[:, 1]).all())
    array = to_array(image, channels=3)
    return bool((array == array[0, 0]).all())


def _to_8_bit(values: NDArray[Any], no_data: float | None = None) -> NDArray[np.uint8]:
    if values.dtype == np.uint16 and no_data is None:
        return _scaled(values, int(values.max(initial=0)))
    found = np.zeros(values.shape, np.uint8)
    low, high = _range(values, no_data)
    if low > high:
        return found  # nothing is known
    # Pillow opens some 16-bit files as 32-bit integers.
    deep = low >= 0 and high <= 65535 and values.dtype != np.float32
    for rows in blocks(values):
        wide = values[rows].astype(np.float64)
        wide[_unknown(values[rows], no_data)] = low  # the darkest that is known
        if deep:
            found[rows] = _scaled(wide.astype(np.uint16), int(high))
        else:
            wide -= low
            wide *= 255 / max(high - low, 1e-12)
            found[rows] = wide.astype(np.uint8)
    return found


def _range(values: NDArray[Any], no_data: float | None) -> tuple[float, float]:
    """The least and the largest value; the first is above the second where none is known."""
    low, high = np.inf, -np.inf
    for rows in blocks(values):
        known = ~_unknown(values[rows], no_data)
        if known.all():
            low, high = min(low, float(values[rows].min())), max(high, float(values[rows].max()))
        elif known.any():
            some = values[rows][known]
            low, high = min(low, float(some.min())), max(high, float(some.max()))
    return low, high


def _unknown(values: NDArray[Any], no_data: float | None) -> NDArray[np.bool_]:
    unknown: NDArray[np.bool_] = ~np.isfinite(values)
    if no_data is None:
        return unknown
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            unknown |= values == values.dtype.type(no_data)  # as the file rounds it
        return unknown
    limits = np.iinfo(values.dtype)
    if limits.min <= no_data <= limits.max and no_data == int(no_data):  # else no value is it
        unknown |= values == int(no_data)
    return unknown


def _scaled(values: NDArray[np.uint16], largest: int) -> NDArray[np.uint8]:
    bits = max(8, largest.bit_length())
    scaled: NDArray[np.uint8] = (values >> (bits + bits % 2 - 8)).astype(np.uint8)
    return scaled


def _opaque(image: PillowImage.Image) -> PillowImage.Image:
    rgba = image.convert("RGBA")
    pixels = np.asarray(rgba)
    alpha = pixels[:, :, 3]
    if (alpha == 255).all() or not alpha.any():  # an alpha of 0 throughout, as some BMP have, means nothing
        return rgba.convert("RGB")
    background = PillowImage.new("RGBA", rgba.size, (*_ground(pixels), 255))
    return PillowImage.alpha_composite(background, rgba).convert("RGB")


def _ground(pixels: NDArray[np.uint8]) -> tuple[int, int, int]:
    """What to lay an image (height, width, 4) over: the colour of its visible border; where there is none, white, or
    black under something bright. What colour the transparent pixels have, nobody ever saw."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    visible = border[border[:, 3] >= _VISIBLE]
    if len(visible):
        red, green, blue = np.median(visible[:, :3], axis=0).astype(int).tolist()
        return red, green, blue
    alpha = pixels[:, :, 3]
    colours = np.einsum(
        "yx,yxc->c", alpha, pixels[:, :, :3], dtype=np.uint64
    )  # in whole numbers, and no copy
    bright = colours @ _LUMINANCE > 127 * alpha.sum(dtype=np.uint64)
    return (0, 0, 0) if bright else (255, 255, 255)
