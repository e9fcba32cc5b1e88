"""Images of any bytes: decoded, or refused with a reason, within what their pixels may cost."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dupekit.dataset.image_file import open_image
from dupekit.dataset.pixels import square_pixels
from dupekit.dataset.scan import list_dataset, read_files
from dupekit.errors import ImageError
from tests.fuzz.hostile import bounded, damaged

MAX_PIXELS = 1_000_000


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, beside: bytes = b"") -> bytes:
    """A grey PNG, all black, with more chunks before its pixels."""
    packer = zlib.compressobj()
    row = b"\0" * (width + 1)
    rows = max(1, 1_000_000 // len(row))
    pixels = (
        b"".join(packer.compress(row * min(rows, height - at)) for at in range(0, height, rows))
        + packer.flush()
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + beside + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(tags: list[tuple[int, int, int, int]], body: bytes) -> bytes:
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4)


def strips(count: int) -> bytes:
    """A TIFF whose every byte of the body is called the place of a strip, one pixel high."""
    one = {256: 1, 257: 60_000, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    tags = [(tag, 3, 1, value) for tag, value in one.items()]
    return tiff([*tags, (273, 1, count, 8), (279, 1, count, 8 + count)], b"\x08" * 2 * count)


def scans(content: bytes, count: int) -> bytes:
    """A progressive JPEG with its last scan repeated."""
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + content[-2:]


def segments(content: bytes, segment: bytes, count: int) -> bytes:
    """A JPEG with segments put in after its first bytes."""
    return content[:2] + segment * count + content[2:]


JPEG = encoded(Image.new("RGB", (64, 64)), "JPEG")
PROGRESSIVE = encoded(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
# Thumbnails in the metadata and films behind the end have such bytes, too.
MANY_MARKS = segments(JPEG, b"\xff\xe5\x01\x02" + b"\xff\xda" * 128, 1) + b"\xff\xda" * 500

BOMBS = {
    "high": (png(1, 40_000_000), "1 x 40000000 pixels have a side of more than 65535"),
    "wide": (png(40_000_000, 1), "40000000 x 1 pixels have a side of more than 65535"),
    "large": (png(9000, 9000), "9000 x 9000 pixels are more than the limit"),
    "scans": (scans(PROGRESSIVE, 300), "has 310 scans, and at most 100 are read"),
    "hidden scans": (scans(segments(PROGRESSIVE, b"\xff\x00\xff\xff", 1), 300), "has 310 scans"),
    "segments": (segments(JPEG, b"\xff\xe5\0\2", 1_000_000), "consists of over"),
    "pieces of Exif": (segments(JPEG, b"\xff\xe1\0\x09Exif\0\0x", 1_000_000), "consists of over"),
    "fill bytes": (segments(JPEG, b"\xff", 10_000_000), "consists of over"),
    "chunks": (png(8, 8, beside=chunk(b"abCd", b"") * 500_000), "consists of over"),
    "strips": (strips(5_000_000), "has 5000000 strips or tiles, and at most 200000"),
    "tags": (tiff([(tag, 7, 1, 0) for tag in range(65_535)], b""), "consists of over"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(bomb: str) -> None:
    content, why = BOMBS[bomb]
    with bounded(seconds=1, memory=50 << 20), pytest.raises(ImageError, match=why):
        open_image(content)


@pytest.mark.parametrize("kind", ["scans", "marks", "segments", "chunks", "texts", "strips", "one side"])
def test_what_is_unusual_and_no_bomb_is_read(kind: str) -> None:
    content = {
        "scans": scans(encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=True), 80),
        "marks": MANY_MARKS,
        "segments": segments(JPEG, b"\xff\xe5\0\2", 900),
        "chunks": png(8, 8, beside=chunk(b"abCd", b"") * 900),
        "texts": png(8, 8, beside=chunk(b"tEXt", b"a\0b") * 5000),
        "strips": strips(60_000),
        "one side": png(1, 65_535),
    }[kind]
    with bounded():
        assert open_image(content).getextrema() is not None


def test_a_scan_names_bombs_and_goes_on(tmp_path: Path) -> None:
    for label, content in (("a", png(7, 7)), ("b", png(5, 5))):
        (tmp_path / label).mkdir()
        (tmp_path / label / "good.png").write_bytes(content)
    (tmp_path / "a" / "bomb.jpg").write_bytes(BOMBS["scans"][0])
    (tmp_path / "b" / "bomb.png").write_bytes(BOMBS["high"][0])
    found = read_files(tmp_path, list_dataset(tmp_path).files)
    problems = {one.file.path: one.problem for one in found}
    assert problems["a/good.png"] == problems["b/good.png"] == ""
    assert "scans" in problems["a/bomb.jpg"]
    assert "side" in problems["b/bomb.png"]


NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
VALID = {
    "JPEG": encoded(Image.fromarray(NOISE), "JPEG"),
    "progressive": encoded(Image.fromarray(NOISE), "JPEG", progressive=True),
    "PNG": encoded(Image.fromarray(NOISE), "PNG"),
    "palette": encoded(Image.fromarray(NOISE).quantize(), "PNG", transparency=3),
    "TIFF": encoded(Image.fromarray(NOISE), "TIFF"),
    "packed": encoded(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw"),
    "float": encoded(Image.fromarray(NOISE[..., 0].astype(np.float32)), "TIFF", tiffinfo={42113: "7"}),
    "deep": encoded(Image.fromarray(NOISE[..., 0].astype(np.uint16) << 4), "TIFF"),
    "GIF": encoded(Image.fromarray(NOISE), "GIF"),
    "WEBP": encoded(Image.fromarray(NOISE), "WEBP"),
    "BMP": encoded(Image.fromarray(NOISE), "BMP"),
}


@pytest.mark.parametrize("kind", VALID)
def test_an_image_of_any_bytes(kind: str) -> None:
    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(damaged(VALID[kind], binary=True) | st.binary(max_size=64).map(lambda end: VALID[kind][:12] + end))
    def decode(content: bytes) -> None:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                square = square_pixels(content, size_px=16, channels=1, max_pixels=MAX_PIXELS)
            except ImageError as error:
                assert error.message  # noqa: PT017 - most content is refused
                return
        assert square.shape == (16, 16, 1)

    decode()
