"""A patch applied to a copy of the dataset, where there may be no project: lists, checks, plans, writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dupekit.correct.build import check_destination, write_dataset
from dupekit.correct.copying import Mode
from dupekit.correct.patch import PatchRow, plan_patched, read_patch
from dupekit.correct.placements import Source
from dupekit.dataset.scan import ClassListing, Files, Skipped, open_dataset
from dupekit.errors import DatasetError
from dupekit.files.paths import absolute, new_place, real_path
from dupekit.files.write import digest_file
from dupekit.system.progress import Progress, silent, stage


@dataclass(frozen=True, slots=True)
class Patched:
    """What applying a patch gave, or with `dry_run` would give."""

    destination: Path
    files: int
    rows: list[PatchRow]
    skipped: list[Skipped]
    """What is in the copy but is no image of a class, so not in the result."""


def apply_patch(
    patch: Path,
    dataset: Path,
    destination: Path,
    *,
    reverse: bool = False,
    original: Path | None = None,
    mode: Mode = "copy",
    dry_run: bool = False,
    follow_symlinks: bool = False,
    progress: Progress = silent,
) -> Patched:
    """Writes `dataset`, corrected by the patch, to `destination`; in `reverse`, a corrected one as it was.

    Neither is changed. Content is compared by digest before anything is written. Images that the patch
    does not name stay as they are. Raises UsageError where the patch is malformed, expunged files cannot come back or the
    destination exists; DatasetChanged where the patch does not fit.
    """
    rows = read_patch(patch)
    dataset, destination = absolute(dataset), new_place(destination)
    if original is not None:
        original = absolute(original)
        if not original.is_dir():
            raise DatasetError(f"{original} is no folder.", hint="Name the original dataset with --original.")
    with stage(progress, "listing the dataset"):
        folder = open_dataset(dataset, follow_symlinks=follow_symlinks)
        sources, skipped = _Sources(), list(folder.skipped)
        for listing in folder.listings():
            sources.add(listing)
            skipped += listing.skipped
    named = {row.new_path if reverse else row.path for row in rows}
    there = [file.path for of_class in sources.files.values() for file in of_class if file.path in named]
    for checked, path in enumerate(there):
        progress("comparing", checked, len(named))
        sources.digests[path] = digest_file(real_path(dataset, path))
    plan = plan_patched(sources, rows, original=original, reverse=reverse)
    if dry_run:
        check_destination(dataset, destination)
    else:
        write_dataset(plan, dataset, destination, mode=mode, progress=progress)
    return Patched(destination, len(plan), rows, sorted(skipped))


class _Sources(Mapping[str, Iterator[Source]]):
    """Class -> its files as listed; those of a patch with their digests."""

    def __init__(self) -> None:
        self.files: dict[str, Files] = {}
        self.digests: dict[str, str] = {}

    def add(self, listing: ClassListing) -> None:
        self.files[listing.label] = Files()
        self.files[listing.label].extend(listing.files)

    def __getitem__(self, label: str) -> Iterator[Source]:
        files, digests = self.files[label], self.digests
        return (
            Source(0, path, label, size, mtime_ns, digests.get(path, "")) for path, size, mtime_ns in files
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)
