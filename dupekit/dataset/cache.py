"""Memory-mapped arrays with a row an image, keyed by content digest: pixels, features.

A cached array is a folder of three files: `array.json` (its shape and dtype), `rows.bin` (the rows, one
after the other) and `index.bin` (for each row the image's digest and the row's CRC-32). Rows are only
appended, the index after the rows, so that a reader never sees half a row and a killed writer loses at
most what it had not indexed. A row whose checksum is wrong counts as missing and is made again.

Everything here can be deleted at any time; it costs only the time to make it again.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import DTypeLike, NDArray

from dupekit.dataset.decode import decode_all
from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.dataset.images import Fit, Images
from dupekit.dataset.pixels import RULES
from dupekit.errors import CacheError
from dupekit.files.write import write_text
from dupekit.system.progress import Progress, silent

_INDEX = np.dtype([("digest", "S32"), ("crc", "<u4")])

Compute = Callable[[Images], Iterable[NDArray[Any]]]
"""Makes the rows of some images, in their order and in parts of any number: arrays (k, *shape)."""

_SAVE_S, _SAVE_BYTES = 1.0, 2**26
"""So often, or when so much has gathered, what was made is written and told."""


class Cache:
    """The cache folder of a project. `max_pixels` is the limit for decoding, as in `dupekit.dataset.pixels`."""

    def __init__(self, folder: Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self.folder = folder
        self.max_pixels = max_pixels
        self._arrays: dict[str, CachedArray] = {}

    def array(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> CachedArray:
        """The cached array of this name, which must always be asked for with one shape and dtype."""
        known = self._arrays.get(name)
        if known is None or (known.shape, known.dtype) != (tuple(shape), np.dtype(dtype)):
            known = self._arrays[name] = CachedArray(self.folder / name, tuple(shape), np.dtype(dtype))
        return known

    def stored(self, name: str) -> CachedArray:
        """The cached array of this name, of whatever shape and dtype. Raises CacheError where there is none."""
        if name in self._arrays:
            return self._arrays[name]
        try:
            if Path(name).name != name:
                raise ValueError("not a name")  # it may come from a model's file, and leads nowhere else
            layout = json.loads((self.folder / name / "array.json").read_bytes())
            return self.array(name, layout["shape"], layout["dtype"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(
                f"The cache holds no array {name!r}: {error}",
                hint="A trainer makes it: was the cache deleted? Run `dupekit train` again.",
            ) from None

    def vectors(self, digests: Sequence[str], *, named: str | None = None) -> Rows | None:
        """The rows of these images in the array of this name. Where there is none, or it has none of them: in that which has most
        of them, of equals the one filled last; of arrays whose rows are vectors of real numbers, as features are. `at` is -1 for
        an image that it has no row of. None where no array has any of them."""
        best: tuple[int, int, Rows] | None = None
        every = sorted(self.folder.glob("*/array.json"))
        for layout in sorted(every, key=lambda layout: layout.parent.name != named):
            try:
                array = self.stored(layout.parent.name)
                if len(array.shape) == 1 and array.dtype.kind == "f":
                    rows = array.known(digests)
                    worth = (int((rows.at >= 0).sum()), layout.with_name("index.bin").stat().st_mtime_ns)
                    if worth[0] and array.folder.name == named:
                        return rows
                    if worth[0] and (best is None or worth > best[:2]):
                        best = (*worth, rows)
            except (CacheError, OSError, ValueError):  # damaged, or being deleted
                continue
        return best[2] if best else None

    def pixels(
        self, images: Images, *, size_px: int, channels: int, fit: Fit = "pad", progress: Progress = silent
    ) -> Rows:
        """Decoded squares as `dupekit.dataset.pixels.fit` makes them: rows (size_px, size_px, channels), uint8."""
        name = f"pixels-{size_px}-{fit}-{'grey' if channels == 1 else 'rgb'}-{RULES}"
        array = self.array(name, (size_px, size_px, channels), np.uint8)
        return array.fill(
            images,
            lambda missing: self.decode(missing, size_px=size_px, channels=channels, fit=fit),
            stage="decoding",
            progress=progress,
        )

    def decode(
        self, images: Images, *, size_px: int, channels: int, fit: Fit = "pad"
    ) -> Iterator[NDArray[np.uint8]]:
        """Reads squares from the dataset without keeping them, part by part: (k, size_px, size_px, channels).

        Raises DatasetChanged where a file is gone or no longer has its digest, ImageError where it cannot be decoded.
        """
        return decode_all(images, size_px=size_px, channels=channels, fit=fit, max_pixels=self.max_pixels)


class CachedArray:
    """One array of the cache. Any number of processes may read it while one appends."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.folder = folder
        self.shape = shape
        self.dtype = dtype
        self._row_bytes = int(np.prod(shape)) * dtype.itemsize
        self._sound = np.zeros(0, bool)  # rows whose checksum this process has compared

    def fill(self, images: Images, compute: Compute, *, stage: str, progress: Progress = silent) -> Rows:
        """The rows of these images; `compute` makes those that are missing or damaged."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock", fallback_to_soft=False):
            self._prepare()
            found = self._find(images.digests)
            self._check(found, progress)
            lost = np.flatnonzero(found < 0)
            if len(lost):
                _, first = np.unique(np.asarray(images.digests, "S64")[lost], return_index=True)
                missing = images.take(lost[np.sort(first)])
                self._make(missing, compute, lambda done: progress(stage, done, len(missing)))
                found = self._find(images.digests)
        return self._rows(found)

    def _make(self, missing: Images, compute: Compute, tell: Callable[[int], None]) -> None:
        done = 0
        tell(done)
        for rows in _gathered(compute(missing)):
            self._append(missing.digests[done : done + len(rows)], rows)
            done += len(rows)
            tell(done)
        if done < len(missing):
            raise ValueError(f"{self.folder.name}: {done} rows for {len(missing)} images")

    def rows(self, images: Images) -> Rows:
        """The rows of these images. Raises CacheError where one was never filled in."""
        found = self._find(images.digests)
        if (found < 0).any():
            lost = images.paths[int(np.argmax(found < 0))]
            raise CacheError(
                f"The cached array {self.folder.name!r} has no row for {lost}.",
                hint="A trainer fills it: was the cache deleted? Run `dupekit train` again.",
            )
        return self._rows(found)

    def known(self, digests: Sequence[str]) -> Rows:
        """The rows of images by their digests, as far as there are any: `at` is -1 for the others."""
        found = self._find(digests)
        if (found < 0).all():
            return Rows(np.empty((0, *self.shape), self.dtype), found)
        memory = self._memory()
        found[found >= len(memory)] = -1
        return Rows(memory, found)

    def _rows(self, found: NDArray[np.int64]) -> Rows:
        return Rows(self._memory() if len(found) else np.empty((0, *self.shape), self.dtype), found)

    def _prepare(self) -> None:
        """Makes the files, or brings them back to the last complete row; starts anew on another layout."""
        meta = self.folder / "array.json"
        layout = json.dumps({"version": 1, "shape": list(self.shape), "dtype": self.dtype.str})
        rows, index = self.folder / "rows.bin", self.folder / "index.bin"
        if not meta.is_file() or meta.read_text() != layout:
            for file in (index, rows):
                file.unlink(missing_ok=True)
                file.touch()
            write_text(meta, layout)
            self._sound = np.zeros(0, bool)
        rows.touch()
        index.touch()
        count = min(rows.stat().st_size // self._row_bytes, index.stat().st_size // _INDEX.itemsize)
        _truncate(index, count * _INDEX.itemsize)
        _truncate(rows, count * self._row_bytes)

    def _append(self, digests: Sequence[str], values: NDArray[Any]) -> None:
        if values.shape != (len(digests), *self.shape):
            raise ValueError(f"{self.folder.name}: rows {values.shape}, not {(len(digests), *self.shape)}")
        values = np.ascontiguousarray(values, self.dtype)
        entries = np.empty(len(digests), _INDEX)
        entries["digest"] = [bytes.fromhex(digest) for digest in digests]
        entries["crc"] = [zlib.crc32(row.tobytes()) for row in values]
        for name, content in (("rows.bin", values.tobytes()), ("index.bin", entries.tobytes())):
            with (self.folder / name).open("ab") as file:
                file.write(content)

    def _memory(self) -> NDArray[Any]:
        count = (self.folder / "rows.bin").stat().st_size // self._row_bytes
        return np.memmap(self.folder / "rows.bin", self.dtype, "r", shape=(count, *self.shape))

    def _find(self, digests: Sequence[str]) -> NDArray[np.int64]:
        """The row of each digest, -1 where there is none."""
        found = np.full(len(digests), -1, np.int64)
        file = self.folder / "index.bin"
        if not len(digests) or not file.is_file():
            return found
        index = np.fromfile(file, _INDEX)
        if not len(index):
            return found
        order = np.argsort(index["digest"], kind="stable")
        ordered = index["digest"][order]
        keys = np.array([bytes.fromhex(digest) for digest in digests], "S32")
        last = np.searchsorted(ordered, keys, side="right") - 1  # the last entry of a digest counts
        hit = (last >= 0) & (ordered[last] == keys)
        found[hit] = order[last[hit]]
        return found

    def _check(self, found: NDArray[np.int64], progress: Progress) -> None:
        """Sets to -1 where a row's checksum is wrong. Once a row has been found sound, it is not read again."""
        there = found >= 0
        if not there.any():
            return
        crc = np.fromfile(self.folder / "index.bin", _INDEX)["crc"]
        self._sound = np.concatenate([self._sound, np.zeros(max(0, len(crc) - len(self._sound)), bool)])
        memory, rows = self._memory(), np.unique(found[there])
        unread = rows[~self._sound[rows]].tolist()
        for done, row in enumerate(unread, 1):
            self._sound[row] = zlib.crc32(memory[row].tobytes()) == crc[row]
            if done % 1024 == 0 or done == len(unread):
                progress("checking the cache", done, len(unread))
        found[there] = np.where(self._sound[found[there]], found[there], -1)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of a cached array, in the order of the images asked for; read from disk when indexed."""

    memory: NDArray[Any]
    at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.at), *self.memory.shape[1:])

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]] | list[int]) -> NDArray[Any]:
        """A copy in memory of these rows, shape (k, *row shape)."""
        return np.asarray(self.memory[self.at[rows]])

    def batches(self, size: int) -> Iterator[NDArray[Any]]:
        """All rows in order, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


def _gathered(parts: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The same rows in fewer, larger parts."""
    held: list[NDArray[Any]] = []
    began = time.monotonic()
    for part in parts:
        held.append(part)
        if time.monotonic() >= began + _SAVE_S or sum(some.nbytes for some in held) >= _SAVE_BYTES:
            yield np.concatenate(held)
            held, began = [], time.monotonic()
    if held:
        yield np.concatenate(held)


def _truncate(file: Path, size: int) -> None:
    if file.stat().st_size != size:
        with file.open("rb+") as handle:
            handle.truncate(size)
