"""Predictions from a file of any of the formats, by the ending of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dupekit.exchange import ifcb
from dupekit.exchange.arrays import read_npy, read_npz
from dupekit.exchange.csv_file import read_csv
from dupekit.exchange.predicted import Predicted, checked, refused

_TABLES = (".csv", ".tsv")
_ARRAYS = {".npz": read_npz, ".npy": read_npy}
ENDINGS = (*_ARRAYS, *_TABLES, *ifcb.READERS)


def read_predictions(
    file: Path, *, paths: Sequence[str] | None = None, classes: Sequence[str] | None = None
) -> Predicted:
    """What a file says of its images; `paths` and `classes` name rows and columns of NumPy's files that do not.

    Raises UsageError where it is no such file, not whole, or holds no probabilities.
    """
    with np.errstate(all="ignore"):  # what is too large, or no number, is named when it is checked
        return checked(_read(file, paths, classes))


def _read(file: Path, paths: Sequence[str] | None, classes: Sequence[str] | None) -> Predicted:
    ending = file.suffix.lower()
    if ending in _ARRAYS:
        return _ARRAYS[ending](file, paths=paths, classes=classes)
    if paths is not None or classes is not None:
        raise refused(
            str(file), "names its images and classes itself", hint="Leave --paths and --classes out."
        )
    if ending in _TABLES:
        return read_csv(file)
    if ending in ifcb.READERS:
        return ifcb.READERS[ending](file)
    raise refused(
        str(file),
        f"is of a kind that is not read: {ending or 'it has no ending'}",
        hint=f"Read are {', '.join(ENDINGS)}.",
    )


def read_list(file: Path) -> list[str]:
    """Names, one a line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise refused(str(file), "is not UTF-8") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not all(lines):
        raise refused(str(file), f"has an empty line {lines.index('') + 1}")
    return lines
