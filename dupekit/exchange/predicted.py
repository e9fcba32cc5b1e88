"""Predicted: what a file says of its images, and whether that can be probabilities."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import DupekitError, UsageError
from dupekit.rounds.tally import are_probabilities

_CHUNK = 16384
LARGEST = 16 << 30
"""Bytes of an array that is read into memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The predictions of one file, as it names images and classes."""

    source: str
    """The file, for messages."""
    images: Sequence[str]
    classes: Sequence[str]
    probabilities: NDArray[Any]
    """Shape (images, classes): numbers of any type, on disk where the file can be mapped."""

    def chunks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First row, and the probabilities from there on."""
        for start in range(0, len(self.images), _CHUNK):
            yield start, np.asarray(self.probabilities[start : start + _CHUNK], np.float32)


def refused(source: str, why: str, *, hint: str = "") -> UsageError:
    """The error for a file that cannot be taken."""
    return UsageError(f"{source} {why}.", hint=f"{hint} Nothing was imported.".strip())


def check_size(source: str, what: str, shape: Sequence[int], item_bytes: int) -> None:
    """Raises UsageError for an array that is too large to be read into memory, before it is unpacked."""
    size = math.prod(int(length) for length in shape) * item_bytes
    if size > LARGEST:
        raise refused(
            source,
            f"holds {what} of {size / (1 << 30):,.0f} GiB; {LARGEST >> 30} are read at most",
            hint="Save large arrays as .npy, which stay on disk, or in several files.",
        )


@contextlib.contextmanager
def parsing(source: str, kind: str) -> Iterator[None]:
    """Within it whatever a library says of a damaged file, in many ways, becomes a UsageError: it is none of this kind."""
    try:
        yield
    except (DupekitError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise  # the system's, which names the file
        raise refused(source, f"is no {kind}, or not whole ({error})") from None


def checked(found: Predicted) -> Predicted:
    """The same. Raises UsageError where sizes differ, names stand twice, or the numbers are no probabilities."""
    shape = (len(found.images), len(found.classes))
    values = found.probabilities
    if values.dtype.kind not in "fiu" or values.ndim != 2:
        raise refused(
            found.source,
            f"holds numbers of shape {values.shape} and type {values.dtype}",
            hint="What is read is a row an image and a column a class, of numbers.",
        )
    if not len(found.images):
        raise refused(found.source, "holds no images")
    if values.shape != shape:
        raise refused(
            found.source,
            f"holds {values.shape[0]:,} rows of {values.shape[1]:,} probabilities, for {shape[0]:,} images and {shape[1]:,} classes",
            hint="There must be a row an image and a column a class, in the order of the names.",
        )
    for what, names in (("class", found.classes), ("image", found.images)):
        if twice := _twice(names):
            raise refused(
                found.source,
                f"has the {what} {twice} twice",
                hint="Several predictions of an image go into several files.",
            )
    for start, part in found.chunks():
        _check(found, start, part)
    return found


def _twice(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _check(found: Predicted, start: int, part: NDArray[np.float32]) -> None:
    good = are_probabilities(part)
    if good.all():
        return
    row = int((~good).argmax())
    values, image = part[row].astype(np.float64), found.images[start + row]
    if not np.isfinite(values).all():
        what = "numbers that are missing or not finite"
        raise refused(found.source, f"has {what} for {image}", hint="Leave such images out.")
    raise refused(
        found.source,
        f"holds no probabilities: those of {image} are between {values.min():.3g} and {values.max():.3g}, and sum to {values.sum():.4g}",
        hint=_what(part),
    )


def _what(part: NDArray[np.float32]) -> str:
    """What the numbers seem to be, and what makes probabilities of them."""
    if (part <= 0).all() and are_probabilities(np.exp(part.astype(np.float64))).all():
        return "They look like logarithms of probabilities: write their exponentials."
    if (part < 0).any() or ((part > 1).any() and not are_probabilities(part / 100).all()):
        return "They look like logits: write them after the softmax."
    if (part > 1).any():
        return "They look like percentages: divide them by 100."
    return "They look like scores of each class for itself, or classes are missing: each row must sum to 1, over all classes."
