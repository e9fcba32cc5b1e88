"""What an image file is made of, looked at before a decoder is: a small file can ask for any work.

Each decoder takes time and memory for every piece that a file is made of, whatever the size of its picture. So a file that
consists of far more pieces than its kind ever needs is refused, and what is beside the pixels of a PNG is taken out.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterable, Iterator

import numpy as np

from dupekit.errors import ImageError

MAX_SIDE = 65_535
"""Pixels of a side, which is what a JPEG can have: Pillow takes 8 bytes a row beside its pixels."""
MAX_SCANS = 100
"""Passes over the picture of a progressive JPEG: ten are usual, and each takes time as the whole picture does."""
MAX_STRIPS = 200_000
"""Strips or tiles of a TIFF: a row each, and a strip a colour, are not so many."""
_PIECES = 1000
_PIECE_BYTES = 1024
"""Chunks of a PNG, segments before the pixels of a JPEG: so many, and then one for so many bytes of the file."""

_LONG = 1_000_000
"""Bytes of a JPEG in which there may be too many steps without a marker."""

_JPEG = b"\xff\xd8\xff"
_START_OF_SCAN, _END = 0xDA, 0xD9
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD9)}
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BESIDE_PIXELS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
"""Chunks that Pillow reads for nothing here, and of which a large one makes it refuse the file."""

_TIFF = {
    b"II*\0": ("<I", "<H", "<HHII"),
    b"MM\0*": (">I", ">H", ">HHII"),
    b"II+\0": ("<4xQ", "<Q", "<HHQQ"),
    b"MM\0+": (">4xQ", ">Q", ">HHQQ"),
}
"""By a file's first bytes: from there on where its first directory stands; that one's number of tags; a tag."""
_STRIPS = {273, 324}
"""Tags with an entry a strip or tile."""


def pixels_only(content: bytes) -> bytes:
    """The file without what may be large beside its pixels. Raises ImageError where its pieces are too many."""
    if content.startswith(_JPEG):
        _check_jpeg(content)
    elif content.startswith(_PNG):
        return _png_pixels(content)
    elif kind := _TIFF.get(content[:4]):
        _check_tiff(content, *kind)
    return content


def _check_pieces(counts: Iterable[int], content: bytes) -> None:
    most, count = _PIECES + len(content) // _PIECE_BYTES, 0
    for one in counts:
        count += one
        if count > most:
            raise ImageError(
                f"consists of over {most} pieces, more than an image of {len(content)} bytes needs"
            )


def _check_jpeg(content: bytes) -> None:
    if len(content) < _PIECES:
        return
    marks, starts = _marks(content)
    if marks > _PIECES or len(content) > _LONG:  # there are so many pieces at most
        before = itertools.takewhile(lambda segment: segment[0] != _START_OF_SCAN, _jpeg_segments(content))
        _check_pieces((steps for _, steps in before), content)
    # These may also stand in a picture within the metadata, or behind the end.
    if starts > MAX_SCANS:
        scans = sum(kind == _START_OF_SCAN for kind, _ in _jpeg_segments(content))
        if scans > MAX_SCANS:
            raise ImageError(f"has {scans} scans, and at most {MAX_SCANS} are read")


def _marks(content: bytes) -> tuple[int, int]:
    """How many bytes may begin a marker, and how many of them that of a scan; five times as quick as bytes.count."""
    marks = starts = 0
    for at in range(0, len(content), _LONG):
        values = np.frombuffer(content[at : at + _LONG + 1], np.uint8)
        marked = values[:-1] == 0xFF
        marks += int(np.count_nonzero(marked))
        starts += int(np.count_nonzero(marked & (values[1:] == _START_OF_SCAN)))
    return marks, starts


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """The kind of each segment up to the end of the image, and how many steps a decoder takes to it: one, and one more
    for each byte that fills the gap before it."""
    at = 2
    while (marker := content.find(b"\xff", at)) >= 0 and marker + 1 < len(content):
        steps, kind = 1 + marker - at, content[marker + 1]
        at = marker + 1
        yield kind, steps
        if kind == 0xFF:
            continue
        if kind == _END:
            return
        at += 1
        if kind not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(content[at : at + 2], "big"))
        if kind == _START_OF_SCAN:
            found = _AFTER_SCAN.search(content, at)
            at = found.start() if found else len(content)


def _check_tiff(content: bytes, place: str, number: str, tag: str) -> None:
    try:
        (at,) = struct.unpack_from(place, content, 4)
        (count,) = struct.unpack_from(number, content, at)
    except struct.error:
        return  # it is cut off, as the decoder will say
    at += struct.calcsize(number)
    whole = min(count, (len(content) - at) // struct.calcsize(tag))
    _check_pieces((whole,), content)
    for name, _, values, _ in struct.iter_unpack(tag, content[at : at + whole * struct.calcsize(tag)]):
        if name in _STRIPS and values > MAX_STRIPS:
            raise ImageError(f"has {values} strips or tiles, and at most {MAX_STRIPS} are read")


def _png_pixels(content: bytes) -> bytes:
    """A PNG without its texts and colour profile."""
    kinds = [kind for kind, _, _ in itertools.islice(_png_chunks(content), _PIECES)]
    if len(kinds) == _PIECES:
        _check_pieces((kind not in _PNG_BESIDE_PIXELS for kind, _, _ in _png_chunks(content)), content)
    elif _PNG_BESIDE_PIXELS.isdisjoint(kinds):
        return content
    return _PNG + b"".join(
        content[start:end] for kind, start, end in _png_chunks(content) if kind not in _PNG_BESIDE_PIXELS
    )


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk. What follows a damaged one is given as one, for the decoder to judge."""
    at = len(_PNG)
    while at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        end = min(at + 12 + length, len(content))
        yield content[at + 4 : at + 8], at, end
        at = end
    if at < len(content):
        yield b"", at, len(content)
