"""NumPy archives (.npz) of which nothing is compressed: no array is larger than its file, each may be read by itself or mapped
where it lies, and written block by block. No pickles."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

DAMAGED = (
    OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, SyntaxError, TokenError, RecursionError,
    NotImplementedError, RuntimeError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What reading raises where the file is no such archive, or was damaged."""

_LOCAL = struct.Struct("<26x2H")
"""A member's header in the zip file: the lengths of its name and of what else stands before its content."""


@dataclass(frozen=True, slots=True)
class Member:
    """An array whose header was read."""

    file: IO[bytes]
    """Stands at its values."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Arrays:
    """An open archive. All raise one of DAMAGED where an array is missing, damaged, or not what is asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        """`file` stays open as long as its members are read; what is mapped does not need it."""
        self._file = file
        self._archive = zipfile.ZipFile(file)

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.NameToInfo

    def open(self, name: str) -> Member:
        """To be read front to back; whoever asks closes the member's file."""
        info = self._archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed")
        file = self._archive.open(info)
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            found = Member(file, shape, dtype)
            if fortran or dtype.hasobject or min(shape, default=0) < 0:
                raise ValueError(f"{name} is of type {dtype} and shape {shape}")
            if file.tell() + found.nbytes != info.file_size:
                raise ValueError(f"{name} has not the {found.nbytes} bytes of its shape {shape}")
        except BaseException:
            file.close()
            raise
        return found

    def read(self, name: str, dtype: DTypeLike, *row: int) -> NDArray[Any]:
        """The array, with rows of this shape; its checksum is compared."""
        member = self._expected(name, dtype, row)
        with member.file as file:
            return np.frombuffer(file.read(), member.dtype).reshape(member.shape)

    def mapped(self, name: str, *row: int) -> NDArray[np.uint8]:
        """The bytes, with rows of this shape, where they lie: nothing is read yet, and no checksum compared."""
        member = self._expected(name, np.uint8, row)
        with member.file as file:
            before = file.tell()
        if not member.nbytes:
            return np.empty(member.shape, np.uint8)
        info = self._archive.getinfo(f"{name}.npy")
        self._file.seek(info.header_offset)
        offset = info.header_offset + _LOCAL.size + sum(_LOCAL.unpack(self._file.read(_LOCAL.size))) + before
        if offset + member.nbytes > os.fstat(self._file.fileno()).st_size:
            raise EOFError(f"{name} ends too early")
        return np.memmap(self._file, np.uint8, "r", offset, member.shape).view(np.ndarray)

    def _expected(self, name: str, dtype: DTypeLike, row: tuple[int, ...]) -> Member:
        member = self.open(name)
        if member.dtype != dtype or not member.shape or member.shape[1:] != row:
            member.file.close()
            raise ValueError(f"{name} is of type {member.dtype} and shape {member.shape}")
        return member


def write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an archive of these."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            write_array(archive, name, array)


def write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


@contextlib.contextmanager
def writing_rows(
    archive: zipfile.ZipFile, name: str, dtype: DTypeLike, shape: tuple[int, ...]
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Writes an array whose rows come block by block: each is passed to what this gives.

    Raises ValueError for a block that does not fit, and at the end where rows are missing.
    """
    wanted, done = np.dtype(dtype), 0
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(wanted), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)

        def write(block: NDArray[Any]) -> None:
            nonlocal done
            done += len(block)
            if block.shape[1:] != shape[1:] or done > shape[0]:
                raise ValueError(f"{name}: a block of shape {block.shape}, up to row {done} of {shape}")
            member.write(np.ascontiguousarray(block, wanted).data)

        yield write
        if done < shape[0]:
            raise ValueError(f"{name}: {done} rows of {shape[0]}")
