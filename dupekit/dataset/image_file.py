"""A file's content -> its first frame, upright. Whatever a file says beside its pixels excludes no image."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFile, UnidentifiedImageError

from dupekit.dataset.structure import MAX_SIDE, pixels_only
from dupekit.errors import ImageError, ImageTooLarge

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""Pillow's decoders that may be used; the others are never tried, whatever a file's first bytes say."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})

MAX_PIXELS = 50_000_000
"""The default limit: above it a file is taken for a decompression bomb."""

NO_DATA = "dupekit_no_data"
"""Key of `Image.info` for the value that stands for "no data" in a TIFF, by GDAL's tag."""
_GDAL_NODATA = 42113

_BLOCK = 1 << 20
"""Values of an array that are worked on at once."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""EXIF's number for the orientation -> what turns such an image upright."""

_unlimited = threading.Lock()

# Of what it passes over in a damaged file, which may be 65,000 times. It would stand between a command's own lines.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(content: bytes, *, max_pixels: int = MAX_PIXELS) -> PillowImage.Image:
    """The decoded first frame, upright, with its mode as stored; colours of 16 bits are scaled to 8.

    Raises ImageError for what is not an image of FORMATS, is truncated, has over `max_pixels` pixels, or would take far more
    memory or time than an image of its size.
    """
    try:
        content = pixels_only(content)
        with _opened(content) as image:
            _check_size(image.width, image.height, max_pixels)
            no_data = _no_data(image)
            upright = _decoded(image, content)
            turned = _UPRIGHT.get(_orientation(image))  # after decoding: a TIFF is turned by Pillow itself
            if turned is not None:
                upright = upright.transpose(turned)
            if no_data is not None:
                upright.info[NO_DATA] = no_data
            return upright
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not a readable image of a known format") from None
    # Pillow's decoders raise nearly anything on a damaged file: SyntaxError, ValueError, struct.error …
    except Exception as error:
        raise ImageError(f"damaged: {str(error) or type(error).__name__}") from None


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(width, height, max_pixels)
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{width} x {height} pixels have a side of more than {MAX_SIDE}",
            hint="Cut it into several images.",
        )


def _opened(content: bytes) -> ImageFile.ImageFile:
    """The file with its header read."""
    with _without_pillows_limit():
        return PillowImage.open(io.BytesIO(content), formats=FORMATS)


@contextlib.contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow's own limit of pixels is one for the whole process, so it is off for a moment only: ours is checked before
    anything is decoded."""
    with _unlimited:
        limit, PillowImage.MAX_IMAGE_PIXELS = PillowImage.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            PillowImage.MAX_IMAGE_PIXELS = limit


def _load(image: PillowImage.Image) -> None:
    limit = PillowImage.MAX_IMAGE_PIXELS
    huge = limit is not None and image.width * image.height > limit  # some decoders look at the limit again
    with _without_pillows_limit() if huge else contextlib.nullcontext():
        image.load()


def _decoded(image: ImageFile.ImageFile, content: bytes) -> PillowImage.Image:
    """The pixels. Of colours of 16 bits Pillow keeps the upper byte only, which is 0 for most of what a camera of 10
    or 12 bits writes: the lower byte is then decoded as well."""
    raw = _raw_mode(image)
    _load(image)
    if ";16" not in raw or image.mode not in ("RGB", "RGBA"):
        return image
    pixels = np.array(image)
    low = _lower_bytes(content, raw)
    colours = 3 if raw.startswith("RGB") else 1
    bits = 8 + int(pixels[..., :colours].max(initial=0)).bit_length()
    bits += bits % 2
    for rows in blocks(pixels):
        deep = pixels[rows].astype(np.uint16) << 8
        if low is not None:
            deep |= low[rows]
        deep >>= bits - 8
        opaque = pixels[rows, :, 3:].copy()  # that is of 16 bits always
        pixels[rows] = deep
        pixels[rows, :, 3:] = opaque
    return PillowImage.fromarray(pixels)


def blocks(array: np.ndarray[Any, Any]) -> Iterator[slice]:
    """The rows of an array in parts, so that what is made of one on the way takes little memory."""
    step = max(1, _BLOCK * len(array) // max(1, array.size))
    for start in range(0, len(array), step):
        yield slice(start, start + step)


def _lower_bytes(content: bytes, raw: str) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """The same image decoded as if its bytes had the other order, which gives the lower ones; None where Pillow has no
    such mode."""
    swapped = raw[:-1] + ("B" if raw[-1] in ("L", "N") else "L")
    with _opened(content) as other:
        tile = other.tile[0]
        args = swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:])
        other.tile = [one._replace(args=args) for one in other.tile]
        try:
            _load(other)
        except ValueError:
            return None
        return np.asarray(other)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How pixels stand in the file, such as "RGB;16B"."""
    args = image.tile[0].args if image.tile else None
    first = args if isinstance(args, str) else args[0] if isinstance(args, tuple) and args else ""
    return first if isinstance(first, str) else ""


def _orientation(image: PillowImage.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # whatever else the metadata hold
        return 1


def _no_data(image: PillowImage.Image) -> float | None:
    try:
        text = getattr(image, "tag_v2", {}).get(_GDAL_NODATA)
        return None if text is None else float(str(text).strip(" \0"))
    except Exception:
        return None
