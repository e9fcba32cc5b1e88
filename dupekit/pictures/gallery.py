"""Many thumbnails, made side by side: of images of a dataset, by their paths."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.errors import ImageError
from dupekit.files.paths import real_path
from dupekit.pictures.thumbnails import Thumbnail, large, thumbnail
from dupekit.system.devices import cores
from dupekit.system.parallel import in_order
from dupekit.system.progress import Progress, silent

SIDES = (160, 128, 104, 80, 64)
"""Pixels of a thumbnail's longer side: the first with which a page stays small enough."""
_SAMPLE = 60
_BUDGET = 38_000_000
"""Bytes of all thumbnails of a page: 51 million as text in it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to be shown."""

    path: str
    """In the dataset, escaped."""
    digest: str
    """Of the content that is meant: a file that holds another is not shown."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Where images lie, and how they are read."""

    dataset: Path
    max_pixels: int = MAX_PIXELS

    def side_px(self, pictures: Sequence[Picture], *, budget: int = _BUDGET) -> int:
        """How large their thumbnails can be so that all of them together stay within so many bytes, by a sample."""
        sample = pictures[:: max(1, len(pictures) // _SAMPLE)]
        for side in SIDES:
            made = [one for one in self.thumbnails(sample, side_px=side) if isinstance(one, Thumbnail)]
            mean = sum(len(one.content) for one in made) / max(len(made), 1)
            if mean * len(pictures) <= budget:
                return side
        return SIDES[-1]

    def thumbnails(
        self, pictures: Sequence[Picture], *, side_px: int, progress: Progress = silent
    ) -> Iterator[Thumbnail | str]:
        """Of each picture, in order, or why there is none, in words.

        Threads, because Pillow frees the interpreter while it decodes and encodes: 1,500 images of plankton took 0.77 s in two
        of them on two cores, 1.47 s in one, and 60 photos of 2 megapixels 0.89 s instead of 1.47.
        """

        def made(picture: Picture) -> Thumbnail | str:
            return self._made(picture, thumbnail, side_px)

        stage, count = "making thumbnails", len(pictures)
        if pictures:
            progress(stage, 0, count)
        with ThreadPoolExecutor(cores()) as threads:
            for done, one in enumerate(in_order(threads, made, pictures, ahead=4 * cores()), 1):
                progress(stage, done, count)
                yield one

    def large(self, picture: Picture, *, side_px: int) -> Thumbnail | str:
        """One to be looked at closely, or why there is none, in words."""
        return self._made(picture, large, side_px)

    def _made(self, picture: Picture, make: Callable[..., Thumbnail], side_px: int) -> Thumbnail | str:
        try:
            content = real_path(self.dataset, picture.path).read_bytes()
            if hashlib.sha256(content).hexdigest() != picture.digest:
                return "The file holds another image now."
            return make(content, side_px=side_px, max_pixels=self.max_pixels)
        except FileNotFoundError:
            return "The file is gone."
        except OSError as error:
            return f"It cannot be read: {error.strerror or error}."
        except ImageError as error:
            return f"It cannot be shown: {error.message}."


def line(made: Thumbnail | str) -> str:
    """It in a line of text: width, height and the WebP in base64; or a blank, and why there is none."""
    if isinstance(made, str):
        return " " + " ".join(made.replace("<", "‹").split())  # which nothing can end
    return f"{made.width} {made.height} {base64.b64encode(made.content).decode('ascii')}"
