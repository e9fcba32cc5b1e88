"""Many texts, or many digests, in a few arrays: what a round or a scan holds of a million images.

A list of str costs some 100 bytes an image besides its text. These cost the text and 8 bytes, or 32 bytes a digest, and
their arrays may be memory-mapped.
"""

from __future__ import annotations

import codecs
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 4096
"""So many texts are decoded, encoded or copied at a time."""
DIGEST_BYTES = 32
_CHECKED_BYTES = 2**20


class StrColumn(Sequence[str]):
    """A sequence of str that makes each when it is asked for. Slices and `take` are columns again."""

    __slots__ = ()

    @abstractmethod
    def take(self, rows: ArrayLike) -> Self:
        """The texts at these positions, in their order. Raises IndexError where there is none."""

    @abstractmethod
    def _part(self, start: int, stop: int) -> Self:
        """Those from start to stop, within 0 and the length; shares the arrays."""

    @abstractmethod
    def _decoded(self, start: int, stop: int) -> Iterable[str]: ...

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> str | Self:
        rows = range(len(self))[index]
        if isinstance(rows, int):
            (text,) = self._decoded(rows, rows + 1)
            return text
        return self._part(rows.start, rows.stop) if rows.step == 1 and rows else self.take(rows)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self._decoded(start, min(start + BLOCK, len(self)))


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn(StrColumn):
    """Texts as one buffer of UTF-8."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]
    """Where each text ends in `data`; the next one begins there."""
    start: int = 0
    """Where the first begins."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextColumn:
        writer = TextWriter()
        writer.extend(texts)
        return writer.column()

    @classmethod
    def checked(cls, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> TextColumn:
        """Of arrays that were read from a file. Raises ValueError where they are no texts."""
        if len(ends) and (ends[0] < 0 or (ends[1:] < ends[:-1]).any()):
            raise ValueError("the ends of its texts do not ascend")
        if (int(ends[-1]) if len(ends) else 0) != len(data):
            raise ValueError("its texts do not end where their bytes do")
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(data), _CHECKED_BYTES):
            decoder.decode(data[start : start + _CHECKED_BYTES].tobytes())
        decoder.decode(b"", final=True)
        if (data[ends[ends < len(data)]] & 0xC0 == 0x80).any():
            raise ValueError("one of its texts ends within a character")
        return cls(data, ends)

    def __len__(self) -> int:
        return len(self.ends)

    def take(self, rows: ArrayLike) -> TextColumn:
        wanted = _positions(rows)
        stops = self.ends[wanted]
        before = wanted % max(len(self), 1) - 1  # a row below 0 counts from the end
        starts = np.where(before >= 0, self.ends[before], self.start)
        ends = np.cumsum(stops - starts)
        data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        for first in range(0, len(wanted), BLOCK):
            block = slice(first, first + BLOCK)
            lengths = stops[block] - starts[block]
            begin, end = int(ends[first] - lengths[0]), int(ends[block][-1])
            shift = starts[block] - (ends[block] - lengths)
            data[begin:end] = self.data[np.arange(begin, end) + np.repeat(shift, lengths)]
        return TextColumn(data, ends)

    def _part(self, start: int, stop: int) -> TextColumn:
        return TextColumn(self.data, self.ends[start:stop], self._begin(start))

    def _decoded(self, start: int, stop: int) -> Iterator[str]:
        begin = first = self._begin(start)
        ends = self.ends[start:stop].tolist()
        data = self.data[begin : ends[-1]].tobytes()
        for end in ends:
            yield data[begin - first : end - first].decode()
            begin = end

    def _begin(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else self.start


class TextWriter:
    """Makes a TextColumn of texts as they come."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("q")

    def append(self, text: str) -> None:
        self.extend((text,))

    def extend(self, texts: Iterable[str]) -> None:
        data, ends = self._data, self._ends
        for text in texts:
            data += text.encode()
            ends.append(len(data))

    def column(self) -> TextColumn:
        """What was written. Nothing can be added afterwards: the column holds the buffers."""
        return TextColumn(np.frombuffer(self._data, np.uint8), np.frombuffer(self._ends, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class DigestColumn(StrColumn):
    """SHA-256 digests; as texts 64 hexadecimal digits."""

    values: NDArray[np.uint8]
    """Shape (n, 32)."""

    @classmethod
    def of(cls, digests: Iterable[str]) -> DigestColumn:
        """Raises ValueError for what is no digest."""
        writer = DigestWriter()
        writer.extend(digests)
        return writer.column()

    @property
    def keys(self) -> NDArray[np.bytes_]:
        """The digests as dtype S32, for comparing, sorting and searching (of one width, none is another's beginning)."""
        return np.ascontiguousarray(self.values).view(f"S{DIGEST_BYTES}").reshape(-1)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: ArrayLike) -> DigestColumn:
        return DigestColumn(self.values[_positions(rows)])

    def _part(self, start: int, stop: int) -> DigestColumn:
        return DigestColumn(self.values[start:stop])

    def _decoded(self, start: int, stop: int) -> Iterator[str]:
        digits, width = self.values[start:stop].tobytes().hex(), 2 * DIGEST_BYTES
        return (digits[at : at + width] for at in range(0, len(digits), width))


class DigestWriter:
    """Makes a DigestColumn of digests as they come."""

    def __init__(self) -> None:
        self._data = bytearray()

    def extend(self, digests: Iterable[str]) -> None:
        """Raises ValueError for what is no digest."""
        left = iter(digests)
        while block := list(islice(left, BLOCK)):
            values = bytes.fromhex("".join(block))  # which passes over spaces
            if len(values) != DIGEST_BYTES * len(block) or {*map(len, block)} != {2 * DIGEST_BYTES}:
                raise ValueError("a digest is not of 64 hexadecimal digits")
            self._data += values

    def column(self) -> DigestColumn:
        """What was written. Nothing can be added afterwards: the column holds the buffer."""
        return DigestColumn(np.frombuffer(self._data, np.uint8).reshape(-1, DIGEST_BYTES))


def keys_of(digests: Sequence[str]) -> NDArray[np.bytes_]:
    """As `DigestColumn.keys`, also of a list."""
    return (digests if isinstance(digests, DigestColumn) else DigestColumn.of(digests)).keys


def numbered(digests: Sequence[str]) -> NDArray[np.int64]:
    """A number for each, shape (n,), from 0 on in the order of the digests: equal for equal ones.

    As NumPy's `unique` gives them, in a third of its memory: the first eight bytes are sorted, and where these are equal the rest
    is compared.
    """
    keys = keys_of(digests)
    values = keys.view(np.uint8).reshape(-1, DIGEST_BYTES)
    beginning = np.ascontiguousarray(values[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
    order = np.argsort(beginning)
    beginning = beginning[order]
    differs = beginning[1:] != beginning[:-1]
    alike = np.flatnonzero(~differs)
    if (keys[order[alike]] != keys[order[alike + 1]]).any():
        return np.unique(keys, return_inverse=True)[1].astype(np.int64, copy=False)
    found = np.empty(len(keys), np.int64)
    found[order[:1]] = 0
    found[order[1:]] = np.cumsum(differs)
    return found


def take(texts: Sequence[str], rows: ArrayLike) -> Sequence[str]:
    """The texts at these positions, in their order: of a column a column, of another sequence a list."""
    return (
        texts.take(rows)
        if isinstance(texts, StrColumn)
        else [texts[row] for row in _positions(rows).tolist()]
    )


def _positions(rows: ArrayLike) -> NDArray[np.int64]:
    found = np.asarray(rows)
    if not found.size:
        return np.empty(0, np.int64)
    if found.dtype == bool:
        raise IndexError("a mask names no positions")
    return found.astype(np.int64, casting="safe", copy=False)
