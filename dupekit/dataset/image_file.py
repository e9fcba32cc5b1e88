"""A file's content -> its first frame, upright. Whatever a file says beside its pixels excludes no image."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFile, UnidentifiedImageError

from dupekit.errors import ImageError, ImageTooLarge

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""Pillow's decoders that may be used; the others are never tried, whatever a file's first bytes say."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})

MAX_PIXELS = 50_000_000
"""The default limit: above it a file is taken for a decompression bomb."""

NO_DATA = "dupekit_no_data"
"""Key of `Image.info` for the value that stands for "no data" in a TIFF, by GDAL's tag."""
_GDAL_NODATA = 42113

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

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BESIDE_PIXELS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
"""Chunks that Pillow reads for nothing here, and of which a large one makes it refuse the file."""

_unlimited = threading.Lock()


def open_image(content: bytes, *, max_pixels: int = MAX_PIXELS) -> PillowImage.Image:
    """The decoded first frame, upright, with its mode as stored; colours of 16 bits are scaled to 8.

    Raises ImageError for what is not an image of FORMATS, is truncated, or has over `max_pixels` pixels.
    """
    try:
        content = _pixels_only(content)
        with _opened(content) as image:
            if image.width * image.height > max_pixels:
                raise ImageTooLarge(image.width, image.height, max_pixels)
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
    high = np.asarray(image)
    low = _lower_bytes(content, raw)
    colours = 3 if raw.startswith("RGB") else 1
    deep = high.astype(np.uint16) << 8 | (0 if low is None else low)
    largest = max(int(deep[..., :colours].max(initial=0)), 255)
    bits = largest.bit_length() + largest.bit_length() % 2
    scaled = (deep >> (bits - 8)).astype(np.uint8)
    if image.mode == "RGBA":
        scaled[..., 3] = high[..., 3]  # how opaque: of 16 bits always
    return PillowImage.fromarray(scaled)


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


def _pixels_only(content: bytes) -> bytes:
    """A PNG without its texts and colour profile; anything else as it is."""
    if not content.startswith(_PNG):
        return content
    chunks = list(_png_chunks(content))
    if not any(kind in _PNG_BESIDE_PIXELS for kind, _, _ in chunks):
        return content
    return _PNG + b"".join(
        content[start:end] for kind, start, end in chunks if kind not in _PNG_BESIDE_PIXELS
    )


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk. What follows a damaged one is given as one, for the decoder to judge."""
    at = len(_PNG)
    while at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        end = min(at + 12 + length, len(content))
        yield content[at + 4 : at + 8], at, end
        at = end
    if at < len(content):
        yield b"", at, len(content)
