"""Small pictures for pages: decoded by us, so that a browser never sees a file of the dataset itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image as PillowImage

from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.dataset.shown import shown_image

QUALITY = 82
"""Of WebP. 500 images of plankton at 160 pixels: 585 bytes each, as PNG 1,642, as JPEG of the same quality 1,041."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture in WebP."""

    content: bytes
    width: int
    """Of the image that it shows, in pixels, as is `height`: what a scale bar needs."""
    height: int

    @property
    def uri(self) -> str:
        """It as an address that holds all of it."""
        return f"data:image/webp;base64,{base64.b64encode(self.content).decode('ascii')}"


LOSSLESS_PX = 512
"""Up to this side a large picture is kept as it is: its single pixels are seen."""


def thumbnail(content: bytes, *, side_px: int, max_pixels: int = MAX_PIXELS) -> Thumbnail:
    """Of an image file's content; an image whose longer side has more than `side_px` pixels is shrunk to that, a smaller one
    keeps its size. Raises ImageError for what is no image."""
    image = shown_image(content, max_pixels=max_pixels)
    width, height = image.size
    image.thumbnail((side_px, side_px), PillowImage.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY, method=4)
    return Thumbnail(out.getvalue(), width, height)


def large(content: bytes, *, side_px: int, max_pixels: int = MAX_PIXELS) -> Thumbnail:
    """The same to be looked at closely: pixel for pixel where it is small."""
    image = shown_image(content, max_pixels=max_pixels)
    width, height = image.size
    image.thumbnail((side_px, side_px), PillowImage.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=max(image.size) <= LOSSLESS_PX, quality=92, method=4)
    return Thumbnail(out.getvalue(), width, height)
