"""Enlarged copies: specimens of 50 pixels are specks in a file manager. One whole factor for all of a tree, so that sizes can
still be compared.

Smoothed (bicubic), not with pixels repeated: on real plankton of 40 to 75 pixels, side by side at factors of 3 and 4, outlines,
antennae and bells stay lines, where repeated pixels turn them into stairs and dots. Lanczos looks the same, but draws
halos around what is dark; bilinear is softer. A copy of such an image takes a millisecond, so one process does.
"""

from __future__ import annotations

import io
from math import isqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.dataset.shown import shown_image
from dupekit.errors import UsageError

AIM_PX = 200
"""The median of the longer sides that `auto` comes near."""
COPY_MAX_PIXELS = MAX_PIXELS
"""No copy gets more: in memory it takes up to six bytes a pixel."""


def factor_for(wanted: int | None, sizes: NDArray[np.int64]) -> int:
    """By which all copies are enlarged; `wanted` None: so that they can be seen well. `sizes`: shape (n, 2), in pixels.

    Raises UsageError where so large a factor is wanted that a copy would have more than `COPY_MAX_PIXELS`.
    """
    if wanted == 1 or not len(sizes):
        return 1
    largest = int(sizes.prod(axis=1).max())
    most = max(1, isqrt(COPY_MAX_PIXELS // largest))
    if wanted is None:
        return min(most, max(1, round(AIM_PX / float(np.median(sizes.max(axis=1))))))
    if wanted > most:
        raise UsageError(
            f"Enlarged {wanted} times, the largest of these images would have"
            f" {largest * wanted**2 / 1e6:,.0f} million pixels.",
            hint=f"Name a factor up to {most}.",
        )
    return wanted


def enlarged(content: bytes, factor: int, *, max_pixels: int) -> bytes:
    """A PNG of an image file's first frame as `shown_image` gives it. Raises as that."""
    small = shown_image(content, max_pixels=max_pixels)
    size = (small.width * factor, small.height * factor)
    out = io.BytesIO()
    # The quickest compression: these copies live as long as their review.
    small.resize(size, PillowImage.Resampling.BICUBIC).save(out, "PNG", compress_level=1)
    return out.getvalue()
