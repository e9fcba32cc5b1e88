"""Scan: the ledger is brought up to date with the dataset."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dupekit.dataset.columns import TextColumn, TextWriter
from dupekit.dataset.scan import File, Files, OtherFiles, Skipped, open_dataset, read_files
from dupekit.errors import DatasetChanged, DatasetError, UsageError
from dupekit.files.names import escape, same_name_key
from dupekit.ledger import images
from dupekit.ledger.images import ClassSize, Problem
from dupekit.settings import FILE
from dupekit.system.progress import Progress, stage
from dupekit.workflow.session import Session

_T = TypeVar("_T")
_Known = tuple[str, int, int]
"""As a File."""

_AT_A_TIME = 4096
"""Files that are recorded at a time: a killed scan goes on where it was."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found."""

    images: int
    """Readable."""
    classes: list[ClassSize]
    read: int
    """Files whose content was read, because they are new or changed, or all were to be."""
    changed: int
    """Files that were known, and have another content than before."""
    gone: int
    problems: list[Problem]
    """The images that take no part."""
    skipped: list[Skipped]
    other_files: list[OtherFiles]
    """Files below the classes that have no image's extension."""
    twins: list[tuple[str, ...]]
    """Classes whose names differ in case or Unicode form only, so that they look like one, and are one elsewhere."""
    one_colour: list[str]
    """Paths of images, of those that were read, in which nothing can be seen: every pixel is alike."""
    not_assessable: list[ClassSize]
    """Classes with too few different images to be split."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """A dataset as it is listed, beside what the last scan saw of it; nothing is recorded."""

    classes: list[str]
    skipped: list[Skipped]
    other_files: list[OtherFiles]
    to_read: Files
    """What is new or changed, or could not be read; or every file, where that was asked for. By path."""
    changed: int
    """How many are new or changed. What could not be read takes no part; it does not hold up the rest."""
    gone: TextColumn
    example: str | None
    """A file that is new or changed, or one that is gone."""

    @property
    def is_scanned(self) -> bool:
        """Whether the last scan saw just these files, and was not cut off."""
        return self.example is None


def find_changes(session: Session, progress: Progress, *, every: bool = False) -> Changes:
    """Lists the dataset and compares it, class by class, with the ledger. Raises DatasetError where it cannot be listed."""
    with stage(progress, "listing the dataset"):
        folder = open_dataset(session.dataset, follow_symlinks=session.settings.follow_symlinks)
        skipped, others = list(folder.skipped), []
        found = _Differences(every)
        for listing in folder.listings():
            skipped += listing.skipped
            others += listing.other_files
            found.add(listing.files, _known(session, listing.label))
        for label in sorted(set(images.class_names(session.ledger)).difference(folder.classes)):
            found.add([], _known(session, label))
    gone = found.gone.column()
    example = found.example or (gone[0] if gone else None)
    return Changes(
        folder.classes, sorted(skipped), sorted(others), found.to_read, found.changed, gone, example
    )


def _known(session: Session, label: str) -> Iterator[list[_Known]]:
    return images.known_files(session.ledger, label, max_pixels=session.settings.max_pixels)


class _Differences:
    """Of the files of classes and what is known of them. What is as it was costs a comparison of lists."""

    def __init__(self, every: bool) -> None:
        self.to_read = Files()
        self.gone = TextWriter()
        self.changed = 0
        self.example: str | None = None
        self._every = every

    def add(self, files: list[File], known: Iterable[list[_Known]]) -> None:
        """Files and what is known, both by path, of one class."""
        start = 0
        for block in known:
            stop = bisect_right(files, block[-1][0], start, key=lambda file: file.path)
            part, start = files[start:stop], stop
            if part != block:  # a File is a tuple
                self._compare(part, {row[0]: File._make(row) for row in block})
            elif self._every:
                self.to_read.extend(part)
        self._compare(files[start:], {})

    def _compare(self, files: Sequence[File], known: dict[str, File]) -> None:
        for file in files:
            before = known.pop(file.path, None)
            differs = file != before
            if differs and (before is None or before.mtime_ns != images.UNREAD):
                self.changed += 1
                self.example = self.example or file.path
            if differs or self._every:
                self.to_read.extend((file,))
        self.gone.extend(known)


def scan(session: Session, found: Changes, progress: Progress) -> Scan:
    """Records what there is, and reads of it what is to be read."""
    ledger, dataset, settings = session.ledger, session.dataset, session.settings
    to_read = found.to_read
    images.record_classes(ledger, found.classes)
    other, one_colour = 0, []
    contents = iter(read_files(dataset, to_read, max_pixels=settings.max_pixels))
    for start in range(0, len(to_read), _AT_A_TIME):
        some = list(_counted(islice(contents, _AT_A_TIME), progress, start, len(to_read)))
        before = images.digests(ledger, [content.file.path for content in some])
        other += sum(before.get(c.file.path, c.digest) != c.digest for c in some if c.digest)
        one_colour += [c.file.path for c in some if c.one_colour]
        images.record_contents(ledger, some)
    if to_read:
        progress("scanning", len(to_read), len(to_read))
    images.record_gone(ledger, found.gone)
    present = set(found.classes)
    sizes = [size for size in images.class_sizes(ledger) if size.name in present]
    return Scan(
        images=sum(size.images for size in sizes),
        classes=sizes,
        read=len(to_read),
        changed=other,
        gone=len(found.gone),
        problems=images.problems(ledger),
        skipped=found.skipped,
        other_files=found.other_files,
        twins=_twins(found.classes),
        one_colour=one_colour,
        # Under a class view small classes may be large enough together: `train` says so, which reads it.
        not_assessable=[size for size in sizes if size.different < settings.class_min]
        if settings.class_config is None
        else [],
    )


def require_unchanged(session: Session, progress: Progress) -> None:
    """Raises DatasetChanged where the dataset's files are not those of the last scan, by size and time."""
    found = find_changes(session, progress)
    if not found.is_scanned:
        raise DatasetChanged(
            f"The dataset changed since the last scan: {found.changed} files new or changed, {len(found.gone)} gone"
            f" (for example {found.example}).",
            hint="Run `dupekit scan` first.",
        )


def check_place(dataset: Path, project: Path) -> None:
    """Raises UsageError where the project would lie inside the dataset, DatasetError where dupekit.toml cannot name it."""
    if project.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(
            f"The project {project} would lie inside the dataset, which dupekit never writes to.",
            hint="Name a folder elsewhere with -p.",
        )
    try:
        str(dataset).encode()
    except UnicodeEncodeError:
        raise DatasetError(
            f"The dataset's own path {escape(str(dataset))} is not valid UTF-8, so {FILE} cannot hold it.",
            hint="Rename that folder, or reach it through a link with another name.",
        ) from None


def _twins(classes: Iterable[str]) -> list[tuple[str, ...]]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[same_name_key(name)].append(name)
    return [tuple(names) for names in alike.values() if len(names) > 1]


def _counted(items: Iterable[_T], progress: Progress, start: int, total: int) -> Iterator[_T]:
    for done, item in enumerate(items, start):
        if done % 64 == 0:
            progress("scanning", done, total)
        yield item
