"""Many image files -> one array of squares; by several processes where there are many files."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.images import Fit, Image, Images
from dupekit.dataset.pixels import square_pixels
from dupekit.errors import DatasetChanged, ImageError
from dupekit.system.devices import cores
from dupekit.system.parallel import in_order

PART = 32
"""Images that are decoded, and given to one process, at a time."""
WORTH_PROCESSES = 8192
"""From so many images on, the half second that processes take to start is soon made good."""
_READERS = 4
"""Threads of a process that read ahead: they hide the latency of network shares."""


def decode(images: Images, *, size_px: int, channels: int, fit: Fit, max_pixels: int) -> NDArray[np.uint8]:
    """Decodes files into squares: (n, size_px, size_px, channels).

    Raises DatasetChanged where a file is gone or no longer has its digest, ImageError where it cannot be
    decoded.
    """
    squares = np.empty((len(images), size_px, size_px, channels), np.uint8)
    # Threads read, but do not decode: Pillow's short calls on small images only wait for each other.
    with ThreadPoolExecutor(_READERS) as threads:
        contents = threads.map(_read_unchanged, images)
        for row, (image, content) in enumerate(zip(images, contents, strict=True)):
            try:
                squares[row] = square_pixels(
                    content, size_px=size_px, channels=channels, how=fit, max_pixels=max_pixels
                )
            except ImageError as error:
                raise ImageError(f"{image.file}: {error.message}", hint=error.hint) from None
    return squares


def decode_all(
    images: Images, *, size_px: int, channels: int, fit: Fit, max_pixels: int
) -> Iterator[NDArray[np.uint8]]:
    """As `decode`, of any number of images: `PART` at a time, by a process a core where that is worth while."""
    one = functools.partial(decode, size_px=size_px, channels=channels, fit=fit, max_pixels=max_pixels)
    parts = (images[at : at + PART] for at in range(0, len(images), PART))
    if len(images) < WORTH_PROCESSES:
        yield from map(one, parts)
        return
    # Spawned, not forked: the caller may hold threads and a GPU.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), mp_context=context, initializer=_end_with_parent) as processes:
        yield from in_order(processes, one, parts, ahead=4 * cores())


def _read_unchanged(image: Image) -> bytes:
    try:
        content = image.file.read_bytes()
    except FileNotFoundError:
        content = b""
    if hashlib.sha256(content).hexdigest() != image.digest:
        raise DatasetChanged(
            f"{image.file} is not what the last scan saw: changed or gone.",
            hint="Run `dupekit scan`, or, where size and time are as they were, `dupekit scan --all`. A round that was"
            " begun with this image cannot be trained any further: end it with `dupekit next`. Then `dupekit train`.",
        )
    return content


def _end_with_parent() -> None:
    """A process of the pool would wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
