"""predictions.npz: what a run says of its held-out images, written at once and read in ranges."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import JobError
from dupekit.files.regular import open_regular
from dupekit.files.write import atomic_write
from dupekit.jobs.files import PREDICTIONS


def write_predictions(
    folder: Path,
    *,
    images: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    dtype: type[np.floating[Any]] = np.float16,
) -> None:
    """Writes predictions.npz: `images` (k,) int64, ascending ledger numbers; `probabilities` (k, classes) as `dtype`."""
    with atomic_write(folder / PREDICTIONS) as file:
        np.savez(file, images=images, probabilities=probabilities.astype(dtype))


class PredictionReader:
    """Reads predictions.npz front to back in ranges of image numbers, so that memory stays small."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PREDICTIONS
        self._stack = contextlib.ExitStack()
        try:
            content = self._stack.enter_context(open_regular(self.path, "rb"))
            archive = self._stack.enter_context(zipfile.ZipFile(content))
            with archive.open("images.npy") as file:
                self.images: NDArray[np.int64] = np.lib.format.read_array(file, allow_pickle=False)
            self._rows = self._stack.enter_context(archive.open("probabilities.npy"))
            shape, self._dtype = _header(self._rows)
            self._first = self._rows.tell()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            self._stack.close()
            raise self._damaged(error) from None
        self.n_classes = shape[1]
        self._next = 0

    def __enter__(self) -> PredictionReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _damaged(self, error: Exception) -> JobError:
        return JobError(
            f"{self.path} cannot be read: {error}.",
            hint="Delete its folder and run `dupekit train` again: only this run is repeated.",
        )

    def of(self, image: int) -> NDArray[np.floating[Any]] | None:
        """The probabilities of one image, (classes,), by themselves; None where it is not among the rows."""
        row = int(np.searchsorted(self.images, image))
        if row == len(self.images) or self.images[row] != image:
            return None
        size = self.n_classes * self._dtype.itemsize
        at = self._rows.tell()
        try:
            self._rows.seek(self._first + row * size)
            found = np.frombuffer(self._rows.read(size), self._dtype)
            self._rows.seek(at)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from None
        if len(found) != self.n_classes:
            raise self._damaged(EOFError("it ends too early"))
        return found

    def until(self, image: int) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        """The next rows, up to but without this image number: numbers (k,), probabilities (k, classes)."""
        stop = int(np.searchsorted(self.images, image))
        count = max(0, stop - self._next)
        try:
            content = self._rows.read(count * self.n_classes * self._dtype.itemsize)
            probabilities = np.frombuffer(content, self._dtype).reshape(count, self.n_classes)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from None
        numbers = self.images[self._next : self._next + count]
        self._next += count
        return numbers, probabilities

    def chunks(self, size: int = 16384) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating[Any]]]]:
        """All rows, at most `size` at a time."""
        for start in range(0, len(self.images), size):
            stop = min(start + size, len(self.images))
            yield self.until(int(self.images[stop - 1]) + 1)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if len(shape) != 2 or fortran or dtype.kind != "f":
        raise ValueError(f"probabilities of shape {shape} and type {dtype}")
    return shape, dtype
