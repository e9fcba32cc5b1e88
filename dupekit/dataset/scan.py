"""Dataset folder -> images: what lies there, and what each file holds.

Listing costs one `stat` a file; content is read only for files that are new, or whose size or modification
time changed. The dataset is never written to.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from dupekit.dataset.columns import TextWriter
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


class File(NamedTuple):
    """An image file as listed: nothing of it has been read. A tuple, for it is made a million times."""

    path: str
    """Escaped, relative to the dataset."""
    size: int
    """Bytes."""
    mtime_ns: int

    @property
    def label(self) -> str:
        """The class folder that holds it: its given label, escaped."""
        return self.path.partition("/")[0]


class Files:
    """Any number of files, held in three buffers. Once they are looked at, none can be added."""

    def __init__(self) -> None:
        self._paths = TextWriter()
        self._sizes, self._mtimes_ns = array("q"), array("q")

    def extend(self, files: Iterable[File]) -> None:
        for path, size, mtime_ns in files:
            self._paths.append(path)
            self._sizes.append(size)
            self._mtimes_ns.append(mtime_ns)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[File]:
        return map(File, self._paths.column(), self._sizes, self._mtimes_ns)


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """What lies in a dataset folder and is not part of the dataset: a link, a file beside the classes."""

    path: str
    """Escaped, relative to the dataset."""
    reason: str


@dataclass(frozen=True, slots=True, order=True)
class OtherFiles:
    """How many files of a class have an extension that is no image's."""

    label: str
    extension: str
    """In lower case, with its dot; empty where there is none."""
    count: int


@dataclass(frozen=True, slots=True)
class ClassListing:
    """What lies below one class folder."""

    label: str
    files: list[File]
    """Sorted bytewise by path."""
    skipped: list[Skipped]
    other_files: list[OtherFiles]
    """Files that have no image's extension."""


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """The top of a dataset folder; what lies below it is listed class by class."""

    root: Path
    classes: list[str]
    """Escaped, sorted bytewise."""
    skipped: list[Skipped]
    """What is beside the classes."""
    follow_symlinks: bool

    def listings(self) -> Iterator[ClassListing]:
        """Each class in the order of its files' paths, so that all files come sorted bytewise by path.

        Raises DatasetError where a folder cannot be read, which is known when all is listed, not before.
        """
        for label in sorted(self.classes, key=class_order):
            yield _list_class(self, label)


@dataclass(frozen=True, slots=True)
class DatasetListing:
    """What lies in a dataset folder; all sorted bytewise by path."""

    classes: list[str]
    files: list[File]
    skipped: list[Skipped]
    other_files: list[OtherFiles]
    """Files below the classes that have no image's extension."""


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
    """All that lies in a dataset folder at once, for what is small. Raises DatasetError as `open_dataset` and its listings."""
    folder = open_dataset(root, follow_symlinks=follow_symlinks)
    files: list[File] = []
    skipped, others = list(folder.skipped), []
    for one in folder.listings():
        files += one.files
        skipped += one.skipped
        others += one.other_files
    return DatasetListing(folder.classes, files, sorted(skipped), sorted(others))


def open_dataset(root: Path, *, follow_symlinks: bool = False) -> DatasetFolder:
    """Finds the classes of a dataset folder.

    Hidden entries and what systems and NAS boxes leave behind are passed over. Links are skipped and
    named, unless `follow_symlinks`; within a class no folder is then entered twice.
    Raises DatasetError where there are not two classes, or where a folder cannot be read: an unreadable
    folder must not look like an empty one.
    """
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise DatasetError(
            f"{escape(str(root))} {what}.",
            hint="Give the folder whose sub-folders are the classes.",
        )
    classes: list[str] = []
    skipped: list[Skipped] = []
    for entry, _ in _entries(str(root), "", skipped):
        name = escape(entry.name)
        if entry.is_symlink() and not follow_symlinks:
            skipped.append(Skipped(name, _LINK))
        elif entry.is_dir():
            classes.append(name)
        else:
            skipped.append(Skipped(name, _BESIDE))
    if len(classes) < 2:
        only = f"only one class folder, {classes[0]}" if classes else "no class folders"
        raise DatasetError(
            f"{escape(str(root))} has {only}; dupekit compares classes and needs at least two.",
            hint=_why_no_classes(skipped),
        )
    return DatasetFolder(root, sorted(classes, key=sort_key), skipped, follow_symlinks)


def class_order(label: str) -> bytes:
    """Sorts classes as the paths of their files sort bytewise: "a b/1" before "a/1"."""
    return sort_key(f"{label}/")


def _why_no_classes(skipped: Sequence[Skipped]) -> str:
    hint = "Give the folder whose immediate sub-folders are the classes"
    links = sum(one.reason == _LINK for one in skipped)
    images = sum(one.reason == _BESIDE and _extension(one.path) in EXTENSIONS for one in skipped)
    if links:
        return f"{hint}. It holds {links} symbolic links: if they are the classes, add --follow-symlinks."
    if images:
        return f"{hint}. It holds {images} images itself: put those of each class into a folder of their own."
    return f"{hint}."


def read_files(root: Path, files: Iterable[File], *, max_pixels: int = MAX_PIXELS) -> Iterator[Content]:
    """Reads and decodes each file once, in order; a file that cannot be used yields its problem."""
    rest = iter(files)
    # Threads hide the latency of network shares; in slices, so that memory does not grow with the dataset.
    with ThreadPoolExecutor() as threads:
        while some := list(islice(rest, 512)):
            yield from threads.map(lambda file: _read(root, file, max_pixels), some)


def _list_class(dataset: DatasetFolder, label: str) -> ClassListing:
    """By strings: of a million files no path is made an object."""
    files: list[File] = []
    skipped: list[Skipped] = []
    other: Counter[str] = Counter()
    top = str(real_path(dataset.root, label))
    follow_symlinks = dataset.follow_symlinks
    entered = {_identity(top)} if follow_symlinks else set()
    folders = [(top, f"{label}/")]
    while folders:
        folder, above = folders.pop()
        for entry, extension in _entries(folder, above, skipped):
            path = above + escape(entry.name)
            if extension in EXTENSIONS and entry.is_file(follow_symlinks=False):  # nearly all
                stat = entry.stat()
                files.append(File._make((path, stat.st_size, stat.st_mtime_ns)))
            elif entry.is_symlink() and not follow_symlinks:
                skipped.append(Skipped(path, _LINK))
            elif entry.is_dir():
                if follow_symlinks:  # only links can lead round in a circle
                    if _identity(entry.path) in entered:
                        continue
                    entered.add(_identity(entry.path))
                folders.append((entry.path, f"{path}/"))
            elif extension not in EXTENSIONS:
                other[escape(extension)] += 1
            elif not entry.is_file():
                skipped.append(
                    Skipped(path, "link to nothing" if entry.is_symlink() else "not a regular file")
                )
            else:
                stat = entry.stat()
                files.append(File(path, stat.st_size, stat.st_mtime_ns))
    files.sort(key=itemgetter(0))  # bytewise by path, for UTF-8 keeps the order of characters
    return ClassListing(
        label, files, skipped, [OtherFiles(label, extension, n) for extension, n in sorted(other.items())]
    )


def _extension(name: str) -> str:
    """In lower case, with its dot; of a name that begins with no dot."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _entries(folder: str, above: str, skipped: list[Skipped]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """What a person put into a folder, and its extensions: hidden entries and clutter are left out, and folders that a
    system keeps, which are named in `skipped`, since a class could be called so."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                extension = _extension(name)
                if extension not in EXTENSIONS:  # nothing that a system calls its own has one
                    if is_clutter(name):
                        continue
                    if is_system(name):
                        skipped.append(Skipped(above + escape(name), _KEPT))
                        continue
                yield entry, extension
    except OSError as error:
        raise DatasetError(
            f"The folder {escape(folder)} cannot be read: {error.strerror}.",
            hint="Nothing was recorded. Make it readable, or check that the share is mounted, then scan again.",
        ) from None


def _identity(path: str) -> tuple[int, int]:
    stat = Path(path).stat()  # on Windows an entry's own stat has no inode
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
        refused = ImageTooLarge(error.width, error.height, max_pixels)
        return Content(file, digest, error.width, error.height, problem=refused.message)


def _decoded(file: File, digest: str, content: bytes, max_pixels: int) -> Content:
    """Raises ImageTooLarge."""
    try:
        image = open_image(content, max_pixels=max_pixels)
    except ImageTooLarge:
        raise
    except ImageError as error:
        return Content(file, digest, problem=error.message if content else "empty file")
    return Content(file, digest, image.width, image.height, image.mode, one_colour=is_one_colour(image))
