"""What a model is fed: standardised pixels, cached features, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Cache, Fit, Images, PixelInput, PluginError, Rows


def standardised(
    pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Pixels (n, height, width, channels) as (n, channels, height, width), float32, (x / 255 - mean) / std."""
    scale = (1 / (255 * np.asarray(std))).astype(np.float32)
    offset = (np.asarray(mean) / np.asarray(std)).astype(np.float32)
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    planes *= scale[:, None, None]
    planes -= offset[:, None, None]
    return planes


def cached_features(cache: Cache, images: Images, name: str) -> Rows:
    """The rows that a trainer left in the cache under this name, shape (n, dim).

    Raises CacheError where there are none for some image, PluginError where they are not features.
    """
    rows = cache.stored(name).rows(images)
    if len(rows.shape) != 2:
        raise PluginError(f"{name!r} in the cache has rows of shape {rows.shape[1:]}, not features.")
    return rows


def check_pixels(given: PixelInput) -> None:
    """Raises PluginError for pixels that cannot be prepared."""
    length = given.channels
    if length not in (1, 3) or given.size_px < 1:
        raise PluginError(f"The model asks for {length} channels of {given.size_px} pixels.")
    if given.fit not in get_args(Fit):
        raise PluginError(
            f"The model asks for pixels by the rule {given.fit!r}, not {' or '.join(get_args(Fit))}."
        )
    if len(given.mean) != length or len(given.std) != length or not all(value > 0 for value in given.std):
        raise PluginError(f"The model's mean and std are not {length} values each, std above 0.")
