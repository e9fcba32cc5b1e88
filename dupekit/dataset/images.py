"""Images as plugins are given them: where they lie, what they hold, how large they are. Columns, not objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dupekit.dataset.columns import take
from dupekit.files.paths import real_path


@dataclass(frozen=True, slots=True)
class Image:
    """One readable image of the dataset."""

    file: Path
    """Where it lies."""
    digest: str
    """SHA-256 of the file's content, 64 hexadecimal digits."""
    width: int
    """Pixels, after the EXIF orientation is applied."""
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Images(Sequence[Image]):
    """Many images, held as columns; `images[i]` is an `Image`, `images[a:b]` and `take` are `Images`."""

    root: Path
    """The dataset's folder."""
    paths: Sequence[str]
    """Relative to `root`, escaped as in `dupekit.files.names`. A list, or a column of `dupekit.dataset.columns`."""
    digests: Sequence[str]
    sizes: NDArray[np.int32]
    """Shape (n, 2): width and height in pixels."""

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index: int | slice) -> Image | Images:
        if isinstance(index, slice):
            return Images(self.root, self.paths[index], self.digests[index], self.sizes[index])
        width, height = self.sizes[index].tolist()
        return Image(real_path(self.root, self.paths[index]), self.digests[index], width, height)

    def take(self, rows: ArrayLike) -> Images:
        """The images of these rows, in their order; or those where a mask of length n is true.

        Raises ValueError for a mask of another length.
        """
        asked = np.asarray(rows)
        if asked.dtype == bool:
            if asked.shape != (len(self),):
                raise ValueError(f"a mask of shape {asked.shape} for {len(self)} images")
            asked = np.flatnonzero(asked)
        sizes = self.sizes[asked.astype(np.int64)].reshape(-1, 2)
        return Images(self.root, take(self.paths, asked), take(self.digests, asked), sizes)

    def log_sizes(self) -> NDArray[np.float32]:
        """Natural logarithms of width and height, shape (n, 2): what a model is fed whose `Input` says `log_size`."""
        return np.log(np.maximum(self.sizes, 1)).astype(np.float32).reshape(-1, 2)


Fit = Literal["pad", "stretch", "shrink"]
"""How an image comes into a square: with its aspect ratio kept and the rest filled with its border's colour; stretched to
fill it; or as "pad", but a smaller image is not enlarged."""
