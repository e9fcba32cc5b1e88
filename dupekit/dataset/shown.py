"""An image as a viewer shows it."""

from __future__ import annotations

from PIL import Image as PillowImage

from dupekit.dataset.image_file import MAX_PIXELS, open_image
from dupekit.dataset.pixels import to_array


def shown_image(content: bytes, *, max_pixels: int = MAX_PIXELS) -> PillowImage.Image:
    """An image file's first frame, upright, 8 bits, opaque: of mode "L" or "RGB". Raises ImageError as `open_image`."""
    image = open_image(content, max_pixels=max_pixels)
    grey = image.mode in ("1", "L", "F", "I") or image.mode.startswith("I;")
    pixels = to_array(image, channels=1 if grey and not image.has_transparency_data else 3)
    return PillowImage.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
