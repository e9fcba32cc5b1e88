"""Dupes -> review tree, before list, manifest.

The tree is built under a temporary name beside its destination and renamed when it is complete, so that a
technician never meets half a tree.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dupekit.errors import DatasetChanged, UsageError
from dupekit.files.names import escape, free_name, portable_name, same_name_key, unescape
from dupekit.files.paths import make_parent, real_path
from dupekit.files.write import digest_file, sync_folder, write_lines, write_text
from dupekit.review import read_me
from dupekit.review.manifest import (
    BESIDE,
    CLASSES,
    MARKER,
    READ_ME,
    SPECIAL,
    ExportedFile,
    Manifest,
    write_manifest,
)
from dupekit.rounds.rules import Suspect
from dupekit.system.progress import Progress, silent


def plan_tree(
    dupes: Sequence[Suspect], classes: Iterable[str], *, round_number: int, pairs: int, created: str
) -> Manifest:
    """Names every file of a tree: `<given>/[<sub/folders>/]<suggested>_<votes>_<original name>`.

    Names that Windows or a network share would refuse or that are too long are changed, and names that
    would be one where case or Unicode form is not told apart are numbered; the manifest maps them all.
    """
    names = _Names()
    # These names are the tree's own; a class called so gets a number.
    names.take(".", (MARKER, *SPECIAL, *BESIDE))
    folder_of = {label: names.free(".", portable_name(unescape(label))) for label in classes}
    sub_folders: dict[tuple[str, str], str] = {}
    files: list[ExportedFile] = []
    for dupe in dupes:
        parent = folder_of[dupe.given]
        *between, original = PurePosixPath(dupe.path).parts[1:]
        for part in between:
            key = (parent, part)
            if key not in sub_folders:
                names.take(parent, SPECIAL)
                sub_folders[key] = f"{parent}/{names.free(parent, portable_name(unescape(part)))}"
            parent = sub_folders[key]
        wanted = portable_name(f"{unescape(dupe.suggested)}_{dupe.votes:02d}_{unescape(original)}")
        files.append(
            ExportedFile(
                path=f"{parent}/{names.free(parent, wanted)}",
                original=dupe.path,
                given=dupe.given,
                suggested=dupe.suggested,
                votes=dupe.votes,
                score=round(dupe.score, 6),
                digest=dupe.digest,
            )
        )
    return Manifest(
        export=uuid.uuid4().hex,
        round=round_number,
        pairs=pairs,
        created=created,
        folders={name: label for label, name in folder_of.items()},
        files=files,
    )


class _Names:
    """The names given in each folder of a tree: no two that some file system takes for the same."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = defaultdict(set)

    def take(self, folder: str, names: Iterable[str]) -> None:
        self._taken[folder].update(map(same_name_key, names))

    def free(self, folder: str, wanted: str) -> str:
        """The name that a file or folder wanted so gets, escaped."""
        name = escape(free_name(wanted, self._taken[folder]))
        self.take(folder, [name])
        return name


def write_tree(
    manifest: Manifest,
    dataset: Path,
    destination: Path,
    *,
    ready: Callable[[Manifest], AbstractContextManager[None]] = lambda _: contextlib.nullcontext(),
    progress: Progress = silent,
) -> Manifest:
    """Copies the dupes to `destination`, which must not exist.

    Returns the manifest with what only the copies tell, as it stands in the tree: their sizes, and when they were
    written; what `ready` makes of it is entered before the tree appears, and left when it is there. Raises UsageError where `destination` exists, DatasetChanged where
    an image is no longer what the scan saw.
    """
    if destination.exists() or destination.is_symlink():
        raise UsageError(
            f"{destination} exists already; an export never writes into a folder that is there.",
            hint="Name another folder, or move this one away.",
        )
    make_parent(destination)
    _remove_stale(destination)
    partial = partial_of(destination, manifest.export)
    try:
        partial.mkdir()
        files, settled_ns = [], 0
        for done, file in enumerate(manifest.files):
            progress("exporting", done, len(manifest.files))
            stat = _copy(real_path(dataset, file.original), real_path(partial, file.path), file.digest)
            files.append(replace(file, size=stat.st_size))
            settled_ns = max(settled_ns, stat.st_ctime_ns)
        for name in SPECIAL:
            (partial / name).mkdir()
        write_text(partial / READ_ME, read_me.page(manifest))
        write_text(partial / CLASSES, read_me.classes(manifest))
        marker = partial / MARKER
        marker.mkdir()
        written = manifest.model_copy(update={"files": files, "settled_us": settled_ns // 1000})
        write_manifest(written, marker / "manifest.json")
        write_lines(marker / "before.txt", [file.path for file in manifest.files])
        with ready(written):
            partial.rename(destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(destination.parent)
    progress("exporting", len(manifest.files), len(manifest.files))
    return written


def partial_of(destination: Path, export: str) -> Path:
    """The hidden folder in which the tree of an export is built. While it is there, the tree never was."""
    return destination.with_name(f".{destination.name[:100]}.{export[:8]}.partial")


def _remove_stale(destination: Path) -> None:
    """Removes what exports to this place left behind when they were killed.

    Not one that is at work: a project exports once at a time, and a tree belongs to one project.
    """
    ours = re.compile(re.escape(f".{destination.name[:100]}.") + "[0-9a-f]{8}[.]partial")
    for found in destination.parent.iterdir():
        if ours.fullmatch(found.name) and found.is_dir() and not found.is_symlink():
            shutil.rmtree(found, ignore_errors=True)


def _copy(source: Path, target: Path, digest: str) -> os.stat_result:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise DatasetChanged(
            f"{source} is gone.", hint="Run `dupekit scan`, then `dupekit flag`, and export again."
        ) from None
    if digest_file(target) != digest:
        raise DatasetChanged(
            f"{source} changed since the last scan.",
            hint="Run `dupekit scan`, or, where size and time are as they were, `dupekit scan --all`; the round was"
            " trained on the earlier content.",
        )
    shutil.copystat(source, target)
    target.chmod(target.stat().st_mode | 0o200)  # a read-only dataset must not make an undeletable tree
    return target.stat()
