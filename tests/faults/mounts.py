"""File systems that are mounted over places of the area: small ones, others, and such for reading only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(place: Path, *arguments: str | Path) -> Iterator[None]:
    """`mount` with these arguments; skips the test where this user or kernel cannot."""
    done = subprocess.run(["mount", *arguments, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@contextlib.contextmanager
def small(place: Path) -> Iterator[None]:
    """A file system in memory, which `full` can fill."""
    with mounted(place, "-t", "tmpfs", "-o", "size=48m", "tmpfs"):
        yield


@contextlib.contextmanager
def full(place: Path, *, but_pages: int) -> Iterator[None]:
    """Fills it with a file, `place`/tmp/filler, but for so many pages."""
    stat = os.statvfs(place)
    filler = place / "tmp" / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (stat.f_bavail - but_pages) * stat.f_bsize)
    try:
        yield
    finally:
        filler.unlink()


def pages(place: Path) -> int:
    """How many are in use."""
    stat = os.statvfs(place)
    return stat.f_blocks - stat.f_bfree


@contextlib.contextmanager
def read_only(place: Path, *but: Path) -> Iterator[None]:
    """Mounts a folder for reading only, but for some below it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mounted(place, "--bind", place))
        for one in but:
            stack.enter_context(mounted(one, "--bind", one))
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        yield


@contextlib.contextmanager
def btrfs(place: Path) -> Iterator[None]:
    """A file system that can do reflinks."""
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("mkfs.btrfs is not installed")
    image = place.with_name("btrfs")
    with image.open("wb") as file:
        file.truncate(120 * 2**20)
    try:
        subprocess.run(["mkfs.btrfs", "-q", image], check=True)
        with mounted(place, "-o", "loop", image):
            yield
    finally:
        image.unlink()
