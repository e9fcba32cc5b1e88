"""Dataset folder -> images: what lies there, and what each file holds.

Listing costs one `stat` a file; content is read only for files that are new, or whose size or modification
time changed. The dataset is never written to.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dupekit.dataset.image_file import EXTENSIONS, MAX_PIXELS, open_image
from dupekit.dataset.pixels import is_one_colour
from dupekit.errors import DatasetError, ImageError, ImageTooLarge
from dupekit.files.names import escape, is_clutter, is_system, sort_key
from dupekit.files.paths import real_path
from dupekit.system.parallel import Room

MAX_FILE_BYTES = 1 << 30
"""Larger files are not read: no photograph of a specimen is a gibibyte."""

_LARGE_PIXELS = 4_000_000
_ROOM = Room(4 * MAX_PIXELS)
"""Pixels of large images that are decoded at once, by whatever number of threads: they take up to 26 bytes each."""

_LINK = "symbolic link"
_BESIDE = "file beside the class folders"
_KEPT = "kept by a system or file server, by its name: no class and no images"


@dataclass(frozen=True, slots=True)
class File:
    """An image file as listed: nothing of it has been read."""

    path: str
    """Escaped, relative to the dataset."""
    label: str
    """The class folder that holds it: its given label, escaped."""
    size: int
    """Bytes."""
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class DatasetListing:
    """What lies in a dataset folder; all sorted bytewise by path."""

    classes: list[str]
    files: list[File]
    skipped: list[Skipped]
    other_files: list[OtherFiles]
    """Files below the classes that have no image's extension."""


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """What lies in a dataset folder and is not part of the dataset: a link, a file beside the classes."""

    path: str
    """Escaped, relative to the dataset."""
    reason: str


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """How many files of a class have an extension that is no image's."""

    label: str
    extension: str
    """In lower case, with its dot; empty where there is none."""
    count: int


@dataclass(frozen=True, slots=True)
class Content:
    """What reading a file gave. With a `problem`, the image takes no part in training."""

    file: File
    digest: str = ""
    width: int = 0
    """Pixels, after the EXIF orientation is applied."""
    height: int = 0
    mode: str = ""
    """Pillow's name of the pixel format, such as "L" or "I;16"."""
    problem: str = ""
    one_colour: bool = False
    """Nothing can be seen in it."""
    retry: bool = False
    """The file system failed, not the file: read it again in the next scan."""


def list_dataset(root: Path, *, follow_symlinks: bool = False) -> DatasetListing:
    """Lists the classes and images of a dataset folder.

    Hidden entries and what systems and NAS boxes leave behind are passed over. Links are skipped and
    named, unless `follow_symlinks`; within a class no folder is then entered twice.
    Raises DatasetError where there are not two classes, or where a folder cannot be read: an unreadable
    folder must not look like an empty one.
    """
    classes, skipped = _top(root, follow_symlinks=follow_symlinks)
    files: list[File] = []
    other: Counter[tuple[str, str]] = Counter()
    for entry in classes:
        _walk(root, entry, files, skipped, other, follow_symlinks=follow_symlinks)
    files.sort(key=lambda file: sort_key(file.path))
    names = sorted((escape(entry.name) for entry in classes), key=sort_key)
    others = [OtherFiles(label, extension, n) for (label, extension), n in sorted(other.items())]
    return DatasetListing(names, files, sorted(skipped), others)


def check_dataset(root: Path, *, follow_symlinks: bool = False) -> None:
    """Raises DatasetError as `list_dataset`, but looks at the top of the folder only."""
    _top(root, follow_symlinks=follow_symlinks)


def _top(root: Path, *, follow_symlinks: bool) -> tuple[list[os.DirEntry[str]], list[Skipped]]:
    """The class folders, and path and reason of what is beside them."""
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise DatasetError(
            f"{escape(str(root))} {what}.",
            hint="Give the folder whose sub-folders are the classes.",
        )
    classes: list[os.DirEntry[str]] = []
    skipped: list[Skipped] = []
    for entry in _entries(root, root, skipped):
        if entry.is_symlink() and not follow_symlinks:
            skipped.append(Skipped(escape(entry.name), _LINK))
        elif entry.is_dir():
            classes.append(entry)
        else:
            skipped.append(Skipped(escape(entry.name), _BESIDE))
    if len(classes) < 2:
        only = f"only one class folder, {escape(classes[0].name)}" if classes else "no class folders"
        raise DatasetError(
            f"{escape(str(root))} has {only}; dupekit compares classes and needs at least two.",
            hint=_why_no_classes(skipped),
        )
    return classes, skipped


def _why_no_classes(skipped: Sequence[Skipped]) -> str:
    hint = "Give the folder whose immediate sub-folders are the classes"
    links = sum(one.reason == _LINK for one in skipped)
    images = sum(one.reason == _BESIDE and _extension(one.path) in EXTENSIONS for one in skipped)
    if links:
        return f"{hint}. It holds {links} symbolic links: if they are the classes, add --follow-symlinks."
    if images:
        return f"{hint}. It holds {images} images itself: put those of each class into a folder of their own."
    return f"{hint}."


def read_files(root: Path, files: Sequence[File], *, max_pixels: int = MAX_PIXELS) -> Iterator[Content]:
    """Reads and decodes each file once, in order; a file that cannot be used yields its problem."""
    rest = iter(files)
    # Threads hide the latency of network shares; in slices, so that memory does not grow with the dataset.
    with ThreadPoolExecutor() as threads:
        while some := list(islice(rest, 512)):
            yield from threads.map(lambda file: _read(root, file, max_pixels), some)


def _walk(
    root: Path,
    top: os.DirEntry[str],
    files: list[File],
    skipped: list[Skipped],
    other: Counter[tuple[str, str]],
    *,
    follow_symlinks: bool,
) -> None:
    """Collects what lies below one class folder."""
    label = escape(top.name)
    entered = {_identity(top)} if follow_symlinks else set()
    folders = [Path(top.path)]
    while folders:
        for entry in _entries(root, folders.pop(), skipped):
            path = escape(Path(entry.path).relative_to(root).as_posix())
            if entry.is_symlink() and not follow_symlinks:
                skipped.append(Skipped(path, _LINK))
            elif entry.is_dir():
                if follow_symlinks:  # only links can lead round in a circle
                    if _identity(entry) in entered:
                        continue
                    entered.add(_identity(entry))
                folders.append(Path(entry.path))
            elif (extension := _extension(entry.name)) not in EXTENSIONS:
                other[label, escape(extension)] += 1
            elif not entry.is_file():
                skipped.append(
                    Skipped(path, "link to nothing" if entry.is_symlink() else "not a regular file")
                )
            else:
                stat = entry.stat()
                files.append(File(path, label, stat.st_size, stat.st_mtime_ns))


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a bare name


def _entries(root: Path, folder: Path, skipped: list[Skipped]) -> list[os.DirEntry[str]]:
    """What a person put into a folder: hidden entries and clutter are left out, and folders that a system keeps, which
    are named in `skipped`, since a class could be called so."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or is_clutter(entry.name):
                    continue
                if is_system(entry.name):
                    skipped.append(Skipped(escape(Path(entry.path).relative_to(root).as_posix()), _KEPT))
                    continue
                found.append(entry)
    except OSError as error:
        raise DatasetError(
            f"The folder {escape(str(folder))} cannot be read: {error.strerror}.",
            hint="Nothing was recorded. Make it readable, or check that the share is mounted, then scan again.",
        ) from None
    return found


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    stat = Path(entry.path).stat()  # on Windows an entry's own stat has no inode
    return stat.st_dev, stat.st_ino


def _read(root: Path, file: File, max_pixels: int) -> Content:
    if file.size > MAX_FILE_BYTES:
        return Content(file, problem=f"{file.size} bytes are more than the limit of {MAX_FILE_BYTES}")
    try:
        content = real_path(root, file.path).read_bytes()
    except OSError as error:
        return Content(file, problem=f"cannot be read: {error.strerror}", retry=True)
    digest = hashlib.sha256(content).hexdigest()
    try:
        return _decoded(file, digest, content, min(max_pixels, _LARGE_PIXELS))
    except ImageTooLarge as error:
        if error.pixels <= max_pixels:
            with _ROOM.taken(error.pixels):
                return _decoded(file, digest, content, max_pixels)
        return Content(file, digest, error.width, error.height, problem=error.message)


def _decoded(file: File, digest: str, content: bytes, max_pixels: int) -> Content:
    """Raises ImageTooLarge."""
    try:
        image = open_image(content, max_pixels=max_pixels)
    except ImageTooLarge:
        raise
    except ImageError as error:
        return Content(file, digest, problem=error.message if content else "empty file")
    return Content(file, digest, image.width, image.height, image.mode, one_colour=is_one_colour(image))
