"""A patch applied to a copy of the dataset, where there may be no project: lists, checks, plans, writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dupekit.correct.build import check_destination, write_dataset
from dupekit.correct.copying import Mode
from dupekit.correct.patch import PatchRow, plan_patched, read_patch
from dupekit.correct.placements import Source
from dupekit.dataset.scan import Skipped, list_dataset
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
        listing = list_dataset(dataset, follow_symlinks=follow_symlinks)
    named = {row.new_path if reverse else row.path for row in rows}
    sources = []
    checked = 0
    for file in listing.files:
        digest = ""
        if file.path in named:
            progress("comparing", checked, len(named))
            digest = digest_file(real_path(dataset, file.path))
            checked += 1
        sources.append(Source(0, file.path, file.label, file.size, file.mtime_ns, digest))
    placements = plan_patched(sources, rows, original=original, reverse=reverse)
    if dry_run:
        check_destination(dataset, destination)
    else:
        write_dataset(placements, dataset, destination, mode=mode, progress=progress)
    return Patched(destination, len(placements), rows, listing.skipped)
