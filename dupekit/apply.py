"""Verdicts -> corrected dataset and patch list. The original is only ever read."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from dupekit.api import Progress, silent
from dupekit.errors import DatasetChanged, UsageError
from dupekit.files import escape, free_name, real_path, same_name_key, sync_folder, unescape, write_text

Mode = Literal["copy", "hardlink", "symlink"]


@dataclass(frozen=True, slots=True)
class Source:
    """An image file of the dataset, as the last scan saw it."""

    image: int
    path: str
    label: str
    size: int
    mtime_ns: int
    digest: str
    """Empty where the file could not be read."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A verdict that changes the dataset."""

    image: int
    path: str
    old_label: str
    new_label: str
    """Empty: expunged, not in the corrected dataset."""
    votes: int
    score: float
    decided: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A file of the corrected dataset and where it comes from; paths escaped and relative."""

    source: Source
    path: str


def plan_dataset(sources: Sequence[Source], corrections: Mapping[int, Correction]) -> list[Placement]:
    """Where each file goes: as it was, or at the same place below its new class.

    A relabelled file whose name is taken there, in any case or Unicode form, is numbered; no file that
    stays is ever renamed.
    """
    placements: list[Placement] = []
    moved: list[tuple[Source, str]] = []
    names: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        correction = corrections.get(source.image)
        if correction is None or correction.new_label == source.label:
            parent, _, name = source.path.rpartition("/")
            names[parent].add(same_name_key(name))
            placements.append(Placement(source, source.path))
        elif correction.new_label:
            moved.append((source, correction.new_label))
    for source, label in moved:
        below = PurePosixPath(source.path).relative_to(source.label)
        parent = str(PurePosixPath(label) / below.parent)
        name = escape(free_name(unescape(below.name), names[parent]))
        names[parent].add(same_name_key(name))
        placements.append(Placement(source, f"{parent}/{name}"))
    return placements


def check_destination(dataset: Path, destination: Path) -> None:
    """Raises UsageError where writing there could touch the dataset, or anything else that exists."""
    if destination.exists() or destination.is_symlink():
        raise UsageError(
            f"{destination} exists already; a corrected dataset is never written into it.",
            hint="Name a folder that does not exist yet.",
        )
    real, source = destination.resolve(), dataset.resolve()
    if real.is_relative_to(source) or source.is_relative_to(real):
        raise UsageError(
            f"{destination} lies inside the dataset {dataset}, or the dataset inside it.",
            hint="Name a folder beside the dataset.",
        )


def write_dataset(
    placements: Sequence[Placement],
    dataset: Path,
    destination: Path,
    *,
    mode: Mode = "copy",
    progress: Progress = silent,
) -> None:
    """Writes the corrected dataset under a temporary name and renames it when it is complete.

    Raises UsageError as `check_destination`, and where links cannot be made; DatasetChanged where a file
    is not what the last scan saw. In both cases nothing is left behind.
    """
    check_destination(dataset, destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f".{destination.name[:100]}.{uuid.uuid4().hex[:8]}.partial")
    made: set[Path] = set()
    try:
        partial.mkdir()
        for done, placement in enumerate(placements):
            if done % 64 == 0:
                progress("writing", done, len(placements))
            target = real_path(partial, placement.path)
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _place(placement.source, real_path(dataset, placement.source.path), target, mode)
        partial.rename(destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(destination.parent)
    progress("writing", len(placements), len(placements))


def write_patch(path: Path, corrections: Sequence[Correction], placements: Sequence[Placement]) -> None:
    """Writes patch.csv: one row a correction, enough to make it again on any copy of the dataset."""
    new_paths = {placement.source.image: placement.path for placement in placements}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "action", "old_label", "new_label", "new_path", "votes", "score", "decided"])
    for c in sorted(corrections, key=lambda correction: correction.path):
        action = "relabel" if c.new_label else "expunge"
        new_path = new_paths.get(c.image, "")
        writer.writerow(
            [c.path, action, c.old_label, c.new_label, new_path, c.votes, f"{c.score:.6f}", c.decided]
        )
    write_text(path, text.getvalue())


def _place(source: Source, file: Path, target: Path, mode: Mode) -> None:
    changed = DatasetChanged(
        f"{file} is not what the last scan saw: changed or gone.",
        hint="Run `dupekit scan`, look at what changed, and apply again. Nothing was written.",
    )
    try:
        if mode == "copy":
            content = file.read_bytes()
            if source.digest and hashlib.sha256(content).hexdigest() != source.digest:
                raise changed
            target.write_bytes(content)
            shutil.copystat(file, target)
            return
        stat = file.stat()
        if (stat.st_size, stat.st_mtime_ns) != (source.size, source.mtime_ns):
            raise changed
    except FileNotFoundError:
        raise changed from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be copied: {error.strerror}.",
            hint="Make it readable or take it out of the dataset, scan, and apply again. Nothing was written.",
        ) from None
    try:
        if mode == "hardlink":
            os.link(file.resolve(), target)
        else:
            target.symlink_to(file.resolve())
    except OSError as error:
        raise UsageError(
            f"{mode}s cannot be made from {file} to {target.parent}: {error.strerror}.",
            hint="Use --mode copy; hard links also need source and destination on one file system.",
        ) from None
