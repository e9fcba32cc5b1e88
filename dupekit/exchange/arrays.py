"""NumPy's files: predictions read from .npz and .npy, results written as .npz for cleanlab. No pickles."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dupekit.exchange.predicted import Predicted, check_size, parsing, refused
from dupekit.files.arrays import write_array, writing_rows

PROBABILITIES, PATHS, CLASSES = ("probabilities", "pred_probs"), ("paths",), ("classes",)


def read_npz(file: Path, *, paths: Sequence[str] | None, classes: Sequence[str] | None) -> Predicted:
    """Arrays `probabilities` (or `pred_probs`), `paths` and `classes`; the last two may come from elsewhere."""
    with parsing(str(file), ".npz file of NumPy"), zipfile.ZipFile(file) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}

        def array(wanted: tuple[str, ...], given: Sequence[str] | None, option: str) -> Any:
            if given is not None:
                return given
            found = next((names[name] for name in wanted if name in names), None)
            if found is None:
                raise refused(
                    str(file),
                    f"holds no array {' or '.join(wanted)}, only {', '.join(names) or 'nothing'}",
                    hint=f"Save one of that name{option}.",
                )
            return _read(file, archive, found)

        return Predicted(
            str(file),
            _texts(file, array(PATHS, paths, ", or name a list with --paths"), "paths"),
            _texts(file, array(CLASSES, classes, ", or name a list with --classes"), "classes"),
            array(PROBABILITIES, None, ""),
        )


def read_npy(file: Path, *, paths: Sequence[str] | None, classes: Sequence[str] | None) -> Predicted:
    """One array of probabilities, which stays on disk."""
    if paths is None or classes is None:
        missing = " and ".join(
            option for option, given in (("--paths", paths), ("--classes", classes)) if given is None
        )
        raise refused(
            str(file),
            f"names no images and classes, and there is no {missing}",
            hint="Each is a text file with a name a line, in the order of the rows and of the columns.",
        )
    with parsing(str(file), ".npy file of NumPy"):
        with file.open("rb") as opened:
            _header(file, opened)
        values: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return Predicted(str(file), paths, classes, values)


def _read(file: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as member:
        header = _header(file, member)
        check_size(str(file), "an array", header.shape, header.dtype.itemsize)
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _header(file: Path, opened: IO[bytes]) -> _Header:
    """What an array would be, before it is read. Raises UsageError for pickles."""
    magic = opened.read(len(np.lib.format.MAGIC_PREFIX))
    if magic != np.lib.format.MAGIC_PREFIX:
        pickled = magic[:1] == b"\x80"
        raise _pickled(file) if pickled else ValueError("it does not begin as an array does")
    version = tuple(opened.read(2))
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = readers[version](opened)
    if dtype.hasobject:
        raise _pickled(file)
    return _Header(shape, dtype)


def _pickled(file: Path) -> Exception:
    return refused(
        str(file),
        "holds Python objects, which are refused: reading them can run any program",
        hint="Save names as text, as in numpy.array(paths, dtype=str).",
    )


def _texts(file: Path, names: Any, what: str) -> list[str]:
    if not isinstance(names, np.ndarray):
        return list(names)
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise refused(
            str(file), f"holds {what} of shape {names.shape} and type {names.dtype}, not a list of texts"
        )
    if names.dtype.kind == "S":
        try:
            names = np.char.decode(names, "utf-8")
        except UnicodeDecodeError:
            raise refused(str(file), f"holds {what} that are not UTF-8") from None
    found: list[str] = names.tolist()
    return found


def write_npz(
    out: BinaryIO,
    *,
    labels: NDArray[np.int64],
    paths: Sequence[str],
    classes: Sequence[str],
    probabilities: Iterable[NDArray[Any]],
) -> None:
    """Arrays `labels`, `pred_probs` (float32, as they come, by blocks of rows), `classes` and `paths`."""
    with zipfile.ZipFile(out, "w") as archive:
        write_array(archive, "labels", labels)
        write_array(archive, "classes", np.array(classes, str))
        with writing_rows(archive, "pred_probs", np.float32, (len(paths), len(classes))) as write:
            for block in probabilities:
                write(block)
        write_array(archive, "paths", np.array(list(paths), str))
