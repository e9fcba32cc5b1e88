"""Memory-mapped arrays with a row an image, keyed by content digest: pixels, features.

A cached array is a folder of three files: `array.json` (its shape and dtype), `rows.bin` (the rows, one
after the other) and `index.bin` (for each row the image's digest and the row's CRC-32). Rows are only
appended, the index after the rows, so that a reader never sees half a row and a killed writer loses at
most what it had not indexed. A row whose checksum is wrong counts as missing and is made again.

Everything here can be deleted at any time; it costs only the time to make it again.
"""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from dupekit.dataset.columns import keys_of
from dupekit.dataset.decode import WORTH_PROCESSES, decode_all
from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.dataset.images import Fit, Images
from dupekit.dataset.pixels import RULES
from dupekit.errors import CacheError
from dupekit.files.json_text import parse_json
from dupekit.files.write import clear_partials, write_text
from dupekit.system.progress import Progress, silent

_INDEX = np.dtype([("digest", "S32"), ("crc", "<u4")])

Compute = Callable[[Images], Iterable[NDArray[Any]]]
"""Makes the rows of some images, in their order and in parts of any number: arrays (k, *shape). It is called again for the next."""

_FEW, _MANY = 256, (8192, 65536)
"""Images that a process makes rows of before it looks again what others have made. Many, where the processes that decode them are
started for each of these blocks."""
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
            layout = parse_json((self.folder / name / "array.json").read_bytes())
            shape, dtype = layout["shape"], np.dtype(layout["dtype"])
            if dtype.kind not in "biuf" or not all(type(length) is int and length >= 0 for length in shape):
                raise ValueError(f"its layout is {layout}")
            return self.array(name, shape, dtype)
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
        self._sound = np.zeros(0, bool)  # rows whose checksum this process has compared, or made
        self._read: tuple[tuple[int, int], _Index] | None = None
        self._filled: tuple[Images, tuple[int, int], NDArray[np.int64]] | None = None
        self._begun = (0, 0)

    def fill(self, images: Images, compute: Compute, *, stage: str, progress: Progress = silent) -> Rows:
        """The rows of these images; `compute` makes those that are missing or damaged. What was filled last is known by the very
        object: all runs of a round in one process have one pool.

        No lock is held meanwhile. Of several processes that find much missing each makes what no other has made yet.
        """
        if (found := self._resolved(images)) is not None:
            return self._rows(found)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._prepare()
        keys = keys_of(images.digests)
        before = self._index().find(keys)
        found = before.copy()
        self._check(found, progress)
        lost = np.flatnonzero(found < 0)
        if len(lost):
            _, first = np.unique(keys[lost], return_index=True)
            missing = lost[np.sort(first)]
            self._make(
                images, missing, before[missing], compute, lambda done: progress(stage, done, len(missing))
            )
            found = self._index().find(keys)
            self._check(found, progress)
            if (found < 0).any():
                raise CacheError(
                    f"The cached array {self.folder.name!r} was changed or deleted while it was filled.",
                    hint="Run `dupekit train` again: it goes on where it was.",
                )
        self._filled = images, self._beginning(), found
        return self._rows(found)

    def _make(
        self,
        images: Images,
        missing: NDArray[np.int64],
        before: NDArray[np.int64],
        compute: Compute,
        tell: Callable[[int], None],
    ) -> None:
        """Makes the rows of the images at `missing`, of which `before` are the damaged rows, -1 where there is none."""
        size = _FEW if len(missing) < WORTH_PROCESSES else int(np.clip(len(missing) // 8, *_MANY))
        starts = np.arange(0, len(missing), size)
        done = 0
        tell(done)
        with self._making() as alone:
            # One process goes from front to back, so that what it makes is always made alike; others anywhere.
            for start in (starts if alone else np.random.default_rng().permutation(starts)).tolist():
                block = missing[start : start + size]
                index = self._index()
                now = index.find(keys_of(images.digests)[block])
                own = images.take(block[now == before[start : start + size]])
                made = 0
                if len(own) < len(block):
                    done += len(block) - len(own)
                    tell(done)
                for rows in _gathered(compute(own)) if len(own) else ():
                    self._append(own.digests[made : made + len(rows)], rows, len(index.crc))
                    made += len(rows)
                    tell(done + made)
                if made < len(own):
                    raise ValueError(f"{self.folder.name}: {made} rows for {len(own)} images")
                done += made

    @contextlib.contextmanager
    def _making(self) -> Iterator[bool]:
        """Whether no other process makes rows of this array now. It is only a hint: nobody waits for it."""
        lock = FileLock(self.folder / "making", fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def rows(self, images: Images) -> Rows:
        """The rows of these images. Raises CacheError where one was never filled in."""
        if (found := self._resolved(images)) is not None:
            return self._rows(found)
        found = self._index().find(keys_of(images.digests))
        if (found < 0).any():
            lost = images.paths[int(np.argmax(found < 0))]
            raise CacheError(
                f"The cached array {self.folder.name!r} has no row for {lost}.",
                hint="A trainer fills it: was the cache deleted? Run `dupekit train` again.",
            )
        return self._rows(found)

    def known(self, digests: Sequence[str]) -> Rows:
        """The rows of images by their digests, as far as there are any: `at` is -1 for the others."""
        found = self._index().find(keys_of(digests))
        if (found < 0).all():
            return Rows(np.empty((0, *self.shape), self.dtype), found)
        memory = self._memory()
        found[found >= len(memory)] = -1
        return Rows(memory, found)

    def _rows(self, found: NDArray[np.int64]) -> Rows:
        return Rows(self._memory() if len(found) else np.empty((0, *self.shape), self.dtype), found)

    def _prepare(self) -> None:
        """Makes the files, or brings them back to the last complete row; starts anew on another layout."""
        clear_partials(self.folder)
        meta = self.folder / "array.json"
        layout = json.dumps({"version": 1, "shape": list(self.shape), "dtype": self.dtype.str})
        rows, index = self.folder / "rows.bin", self.folder / "index.bin"
        if not meta.is_file() or not index.is_file() or meta.read_text() != layout:
            for file in (index, rows):
                file.unlink(missing_ok=True)
                file.touch()
            write_text(meta, layout)
        rows.touch()
        whole = index.stat().st_size // _INDEX.itemsize
        count = min(rows.stat().st_size // self._row_bytes, whole)
        if count < whole:  # no writer leaves that: rows were lost, and others will have their places
            write_text(meta, layout)
        _truncate(index, count * _INDEX.itemsize)
        _truncate(rows, count * self._row_bytes)

    def _append(self, digests: Sequence[str], values: NDArray[Any], since: int) -> None:
        """Adds the rows of these digests, but for those that others have added after row `since` or since the array was begun anew."""
        if values.shape != (len(digests), *self.shape):
            raise ValueError(f"{self.folder.name}: rows {values.shape}, not {(len(digests), *self.shape)}")
        entries = np.empty(len(digests), _INDEX)
        entries["digest"] = keys_of(digests)
        values = np.ascontiguousarray(values, self.dtype)
        rows, index = self.folder / "rows.bin", self.folder / "index.bin"
        with self._locked():
            self._prepare()  # another writer may have been killed since
            if self._beginning() != self._begun:
                since = 0
            late = np.fromfile(index, _INDEX, offset=since * _INDEX.itemsize)["digest"]
            own = ~np.isin(entries["digest"], late)
            entries, values = entries[own], values[own]
            entries["crc"] = [zlib.crc32(row.tobytes()) for row in values]
            for file, content in ((rows, values.tobytes()), (index, entries.tobytes())):
                with file.open("ab") as opened:
                    opened.write(content)
            count = index.stat().st_size // _INDEX.itemsize
        self._know(count)
        self._sound[count - len(entries) : count] = True

    def _locked(self) -> FileLock:
        return FileLock(self.folder / "lock", fallback_to_soft=False)

    def _beginning(self) -> tuple[int, int]:
        """Another one where the array was begun anew."""
        try:
            layout = (self.folder / "array.json").stat()
        except FileNotFoundError:
            return 0, 0
        return layout.st_ino, layout.st_mtime_ns

    def _resolved(self, images: Images) -> NDArray[np.int64] | None:
        """The rows of the images that were filled last, if it is these."""
        if self._filled is None or self._filled[0] is not images or self._filled[1] != self._beginning():
            return None
        return self._filled[2]

    def _memory(self) -> NDArray[Any]:
        count = (self.folder / "rows.bin").stat().st_size // self._row_bytes
        return np.memmap(self.folder / "rows.bin", self.dtype, "r", shape=(count, *self.shape))

    def _index(self) -> _Index:
        """The index as it stands now; read again only where it has changed."""
        file, begun = self.folder / "index.bin", self._beginning()
        if begun != self._begun:
            self._begun, self._read, self._sound = begun, None, np.zeros(0, bool)
        try:
            at = file.stat()
        except FileNotFoundError:
            return _Index.of(np.empty(0, _INDEX))
        stands = (at.st_size, at.st_mtime_ns)
        if self._read is None or self._read[0] != stands:
            self._read = stands, _Index.of(np.fromfile(file, _INDEX))
        return self._read[1]

    def _know(self, count: int) -> None:
        self._sound = np.concatenate([self._sound, np.zeros(max(0, count - len(self._sound)), bool)])

    def _check(self, found: NDArray[np.int64], progress: Progress) -> None:
        """Sets to -1 where a row's checksum is wrong. Once a row has been found sound, it is not read again."""
        there = found >= 0
        if not there.any():
            return
        crc = self._index().crc
        self._know(len(crc))
        memory, rows = self._memory(), np.unique(found[there])
        unread = rows[~self._sound[rows]].tolist()
        for done, row in enumerate(unread, 1):
            self._sound[row] = zlib.crc32(memory[row].tobytes()) == crc[row]
            if done % 1024 == 0 or done == len(unread):
                progress("checking the cache", done, len(unread))
        found[there] = np.where(self._sound[found[there]], found[there], -1)


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """Which row is of which image."""

    ordered: NDArray[np.bytes_]
    """The digests, sorted."""
    order: NDArray[np.intp]
    """Their rows."""
    crc: NDArray[np.uint32]
    """Of each row."""

    @classmethod
    def of(cls, entries: NDArray[Any]) -> _Index:
        order = np.argsort(entries["digest"], kind="stable")
        return cls(entries["digest"][order], order, entries["crc"].copy())

    def find(self, keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """The row of each digest, -1 where there is none."""
        if not len(self.ordered):
            return np.full(len(keys), -1, np.int64)
        last = np.searchsorted(self.ordered, keys, side="right") - 1  # the last entry of a digest counts
        return np.where((last >= 0) & (self.ordered[last] == keys), self.order[last], -1)


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
