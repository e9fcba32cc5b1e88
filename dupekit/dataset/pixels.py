"""Decodes images of every kind to 8-bit arrays and fits them into squares.

Whatever the file holds (16-bit grey, palette, CMYK, transparency, an EXIF rotation, several frames), one
rule turns it into grey or RGB, so that a scan, a cache and every trainer see the same picture.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from dupekit.dataset.images import Fit
from dupekit.errors import ImageError, ImageTooLarge

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""Pillow's decoders that may be used; the others are never tried, whatever a file's first bytes say."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})

MAX_PIXELS = 50_000_000
"""The default limit: above it a file is taken for a decompression bomb."""

RULES = 1
"""The version of what this module does to an image. Raise it with every change after which some file gives other
pixels: it is part of the names of cached pixels and features, which are then made anew. Pillow's own rounding, a
level more or less from one release to another, is no such change."""

_RESAMPLING = PillowImage.Resampling.BILINEAR  # Pillow's is antialiased when it shrinks


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> PillowImage.Image:
    """The decoded first frame, upright, with its mode as stored.

    Raises ImageError for what is not an image of FORMATS, is truncated, or has over `max_pixels` pixels.
    """
    PillowImage.MAX_IMAGE_PIXELS = None  # ours is checked below, before anything is decoded
    try:
        with PillowImage.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS
        ) as image:
            if image.width * image.height > max_pixels:
                raise ImageTooLarge(image.width, image.height, max_pixels)
            image.load()
            return ImageOps.exif_transpose(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not a readable image of a known format") from None
    # Pillow's decoders raise nearly anything on a damaged file: SyntaxError, ValueError, struct.error …
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's, not the image's
        raise ImageError(f"damaged: {str(error) or type(error).__name__}") from None


def to_array(image: PillowImage.Image, *, channels: int) -> NDArray[np.uint8]:
    """Grey (`channels=1`) or RGB (`channels=3`) pixels, shape (height, width, channels).

    More than 8 bits are scaled by the smallest even bit depth that holds the image's maximum, so that 12
    and 14-bit cameras do not come out black; 32-bit values by their own range. Transparency is laid over
    the colour of the border.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = PillowImage.fromarray(_to_8_bit(np.asarray(image)))
    elif image.mode == "P" or "A" in image.mode or "a" in image.mode:
        image = _opaque(image)
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array.reshape(*array.shape[:2], channels)


def fit(array: NDArray[np.uint8], size_px: int, how: Fit = "pad") -> NDArray[np.uint8]:
    """Scales into a square of `size_px`; shape (size_px, size_px, channels).

    Where the aspect ratio is kept ("pad"), what is left of the square is filled with the border's own colour,
    the median of its outermost pixels, so that a cut-out on a grey background gets no black bars.
    """
    height, width, channels = array.shape
    scale = size_px / max(height, width)
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
    source: Path | bytes, *, size_px: int, channels: int, how: Fit = "pad", max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Decodes a file into a square: shape (size_px, size_px, channels), uint8. Raises as `open_image`."""
    return fit(to_array(open_image(source, max_pixels=max_pixels), channels=channels), size_px, how)


def _to_8_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint16:
        bits = max(8, int(values.max(initial=0)).bit_length())
        scaled: NDArray[np.uint8] = (values >> (bits + bits % 2 - 8)).astype(np.uint8)
        return scaled
    wide = np.nan_to_num(values.astype(np.float64))
    low, high = wide.min(), wide.max()
    if low >= 0 and high <= 65535 and values.dtype != np.float32:
        return _to_8_bit(wide.astype(np.uint16))  # Pillow opens some 16-bit files as 32-bit integers
    stretched: NDArray[np.uint8] = ((wide - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return stretched


def _opaque(image: PillowImage.Image) -> PillowImage.Image:
    rgba = image.convert("RGBA")
    pixels = np.asarray(rgba)
    if (pixels[:, :, 3] == 255).all():
        return rgba.convert("RGB")
    background = PillowImage.new("RGBA", rgba.size, (*border_colour(pixels[:, :, :3]).tolist(), 255))
    return PillowImage.alpha_composite(background, rgba).convert("RGB")
