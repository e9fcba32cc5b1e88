"""Scan: the ledger is brought up to date with the dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dupekit.dataset.scan import DatasetListing, File, OtherFiles, Skipped, list_dataset, read_files
from dupekit.errors import DatasetChanged, DatasetError, UsageError
from dupekit.files.names import escape, same_name_key
from dupekit.ledger import images
from dupekit.ledger.images import ClassSize, Problem, Stat
from dupekit.settings import FILE
from dupekit.system.progress import Progress, stage
from dupekit.workflow.session import Session

_T = TypeVar("_T")

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


def listed(session: Session, progress: Progress) -> DatasetListing:
    with stage(progress, "listing the dataset"):
        return list_dataset(session.dataset, follow_symlinks=session.settings.follow_symlinks)


def scan(session: Session, listing: DatasetListing, *, every: bool, progress: Progress) -> Scan:
    """Reads of the dataset, as `listed`, only what is new or changed, or `every` file."""
    ledger, dataset, settings = session.ledger, session.dataset, session.settings
    known = images.known_files(ledger, max_pixels=settings.max_pixels)
    changed, gone = _differences(known, listing.files)
    if every:
        changed = listing.files
    images.record_classes(ledger, listing.classes)
    other, one_colour = 0, []
    contents = iter(read_files(dataset, changed, max_pixels=settings.max_pixels))
    for start in range(0, len(changed), _AT_A_TIME):
        some = list(_counted(islice(contents, _AT_A_TIME), progress, start, len(changed)))
        before = images.digests(ledger, [c.file.path for c in some if c.file.path in known])
        other += sum(before.get(c.file.path, c.digest) != c.digest for c in some if c.digest)
        one_colour += [c.file.path for c in some if c.one_colour]
        images.record_contents(ledger, some)
    if changed:
        progress("scanning", len(changed), len(changed))
    images.record_gone(ledger, gone)
    present = set(listing.classes)
    sizes = [size for size in images.class_sizes(ledger) if size.name in present]
    return Scan(
        images=sum(size.images for size in sizes),
        classes=sizes,
        read=len(changed),
        changed=other,
        gone=len(gone),
        problems=images.problems(ledger),
        skipped=listing.skipped,
        other_files=listing.other_files,
        twins=_twins(listing.classes),
        one_colour=one_colour,
        # Under a class view small classes may be large enough together: `train` says so, which reads it.
        not_assessable=[size for size in sizes if size.different < settings.class_min]
        if settings.class_config is None
        else [],
    )


def require_unchanged(session: Session, progress: Progress) -> None:
    """Raises DatasetChanged where the dataset's files are not those of the last scan, by size and time."""
    changed, gone = _unscanned(session, listed(session, progress))
    if changed or gone:
        example = changed[0].path if changed else gone[0]
        raise DatasetChanged(
            f"The dataset changed since the last scan: {len(changed)} files new or changed, {len(gone)} gone"
            f" (for example {example}).",
            hint="Run `dupekit scan` first.",
        )


def is_scanned(session: Session, listing: DatasetListing) -> bool:
    """Whether the last scan saw just these files, and was not cut off."""
    return _unscanned(session, listing) == ([], [])


def _unscanned(session: Session, listing: DatasetListing) -> tuple[list[File], list[str]]:
    known = images.known_files(session.ledger, max_pixels=session.settings.max_pixels)
    changed, gone = _differences(known, listing.files)
    # What could not be read takes no part; it does not hold up the rest.
    return [f for f in changed if f.path not in known or known[f.path].mtime_ns != images.UNREAD], gone


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


def _differences(known: Mapping[str, Stat], files: Sequence[File]) -> tuple[list[File], list[str]]:
    """The files that are new or changed, and the paths that are gone."""
    changed = [file for file in files if known.get(file.path) != (file.size, file.mtime_ns)]
    there = {file.path for file in files}
    return changed, [path for path in known if path not in there]


def _counted(items: Iterable[_T], progress: Progress, start: int, total: int) -> Iterator[_T]:
    for done, item in enumerate(items, start):
        if done % 64 == 0:
            progress("scanning", done, total)
        yield item
