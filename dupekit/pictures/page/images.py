"""The images of a tree as a browser gets them: decoded by us and coded anew without loss, so that no file of the tree reaches it
as it is."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.dataset.shown import shown_image

KEPT_BYTES = 24_000_000
"""So much is kept of what was sent: some thousand images of plankton, or twenty photographs."""
SMALL_PX = 640
"""The longer side of a small picture, at most: for a page of many, each 320 pixels or less on a screen of the finest kind."""
_STRETCH = (1.0, 99.0)
"""Percentiles that become black and white."""


@dataclass(frozen=True, slots=True)
class Coded:
    """What is sent."""

    content: bytes
    media_type: str


class Images:
    """Makes pictures of image files, and keeps the last ones. May be called from any thread."""

    def __init__(self, *, max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._at_work = threading.BoundedSemaphore(2)
        """An image of many pixels takes much memory while it is decoded."""
        self._kept: OrderedDict[tuple[str, bool, bool], Coded] = OrderedDict()
        self._kept_bytes = 0

    def of(
        self, name: str, read: Callable[[], bytes], *, stretched: bool = False, small: bool = False
    ) -> Coded:
        """The image in the file that `read` reads, and that is not read again while the picture of that name is kept.

        Raises what `read` raises, and ImageError where it is none.
        """
        key = (name, stretched, small)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        with self._at_work:
            picture = _coded(read(), self._max_pixels, stretched=stretched, small=small)
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = picture
            self._kept_bytes += len(picture.content) - (len(before.content) if before else 0)
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1].content)
        return picture


def _coded(content: bytes, max_pixels: int, *, stretched: bool, small: bool) -> Coded:
    image = shown_image(content, max_pixels=max_pixels)
    if small:
        image.thumbnail((SMALL_PX, SMALL_PX))
    if stretched:
        image = _stretched(image)
    out = io.BytesIO()
    # The quickest compression: it travels on one machine, or through a tunnel.
    image.save(out, "PNG", compress_level=1)
    return Coded(out.getvalue(), "image/png")


def _stretched(image: PillowImage.Image) -> PillowImage.Image:
    """Contrast stretched, the same for all channels, so that colours stay."""
    counts = np.asarray(image.histogram()).reshape(-1, 256).sum(axis=0)
    shares = counts.cumsum() / counts.sum() * 100
    low, high = (int(np.searchsorted(shares, share)) for share in _STRETCH)
    if high <= low:
        return image
    table = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255).round().astype(int).tolist()
    return image.point(table * len(image.getbands()))
