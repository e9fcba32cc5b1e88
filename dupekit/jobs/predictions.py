"""predictions.npz: what a run says of its held-out images, written block by block and read in ranges."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import JobError
from dupekit.files.arrays import DAMAGED, Arrays, write_array, writing_rows
from dupekit.files.regular import open_regular
from dupekit.files.write import atomic_write
from dupekit.jobs.files import read_result
from dupekit.plugin.contract import PREDICTIONS


@contextlib.contextmanager
def writing_predictions(
    folder: Path, *, images: NDArray[np.int64], classes: int, dtype: type[np.floating[Any]] = np.float16
) -> Iterator[Callable[[NDArray[np.floating[Any]]], None]]:
    """Writes predictions.npz: `images` (k,) int64, ascending ledger numbers; `probabilities` (k, classes) as `dtype`, in blocks of
    rows, each passed to what this gives. The file is there, whole, when the block ends without an error."""
    with atomic_write(folder / PREDICTIONS) as file, zipfile.ZipFile(file, "w") as archive:
        write_array(archive, "images", images)
        with writing_rows(archive, "probabilities", dtype, (len(images), classes)) as write:
            yield write


_AHEAD_BYTES = 8 * 16384
"""Of numbers, read at a time."""


class PredictionReader:
    """Reads predictions.npz front to back in ranges of image numbers, so that memory stays small."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PREDICTIONS
        self._stack = contextlib.ExitStack()
        try:
            content = self._stack.enter_context(open_regular(self.path, "rb"))
            self._arrays = Arrays(content)
            numbers, rows = self._arrays.open("images"), self._arrays.open("probabilities")
            self._numbers = self._stack.enter_context(numbers.file)
            self._rows = self._stack.enter_context(rows.file)
            if len(numbers.shape) != 1 or numbers.dtype != np.int64:
                raise ValueError(f"images of shape {numbers.shape} and type {numbers.dtype}")
            if len(rows.shape) != 2 or rows.shape[0] != numbers.shape[0] or rows.dtype.kind != "f":
                raise ValueError(f"probabilities of shape {rows.shape} and type {rows.dtype}")
        except DAMAGED as error:
            self._stack.close()
            raise self._damaged(error) from None
        self.n_classes, self._dtype, self._first = rows.shape[1], rows.dtype, rows.file.tell()
        self._ahead = np.empty(0, np.int64)
        """Numbers that were read, and whose rows were not yet."""

    def __enter__(self) -> PredictionReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """The numbers of all images."""
        try:
            return self._arrays.read("images", np.int64)
        except DAMAGED as error:
            raise self._damaged(error) from None

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
        except DAMAGED as error:
            raise self._damaged(error) from None
        if len(found) != self.n_classes:
            raise self._damaged(EOFError("it ends too early"))
        return found

    def until(self, image: int) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        """The next rows, up to but without this image number: numbers (k,), probabilities (k, classes)."""
        try:
            while not len(self._ahead) or self._ahead[-1] < image:
                more = np.frombuffer(self._numbers.read(_AHEAD_BYTES), np.int64)
                if not len(more):
                    break
                self._ahead = np.concatenate([self._ahead, more])
            count = int(np.searchsorted(self._ahead, image))
            content = self._rows.read(count * self.n_classes * self._dtype.itemsize)
            stored = np.frombuffer(content, self._dtype).reshape(count, self.n_classes)
        except DAMAGED as error:
            raise self._damaged(error) from None
        # Half precision is for keeping; what is reckoned with it is slow.
        probabilities = stored.astype(np.float32) if self._dtype == np.float16 else stored
        numbers, self._ahead = self._ahead[:count], self._ahead[count:]
        return numbers, probabilities

    def chunks(self, size: int = 16384) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating[Any]]]]:
        """All rows, at most `size` at a time."""
        for start in range(0, len(self.images), size):
            stop = min(start + size, len(self.images))
            yield self.until(int(self.images[stop - 1]) + 1)


def finished(folder: Path) -> bool:
    """Whether a run is done, as its own folder says, and its predictions are no damaged archive."""
    try:
        if read_result(folder) is None:
            return False
        with PredictionReader(folder):
            return True
    except JobError:
        return False
