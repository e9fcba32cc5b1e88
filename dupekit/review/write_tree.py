"""Suspects -> review tree, before list, manifest.

The tree is built under a temporary name beside its destination and renamed when it is complete, so that a
technician never meets half a tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.errors import DatasetChanged, ImageError, UsageError
from dupekit.files.names import escape, free_name, portable_name, same_name_key, unescape
from dupekit.files.paths import make_parent, real_path
from dupekit.files.write import digest_file, sync_folder, write_lines, write_text
from dupekit.review import read_me
from dupekit.review.enlarge import enlarged
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
from dupekit.review.reference_index import reference_folder
from dupekit.review.style import PLAIN, Order, Stratum, Style
from dupekit.rounds.rules import Suspect
from dupekit.system.parallel import in_order
from dupekit.system.progress import Progress, silent

_WRITERS = 8
"""Files that are copied at once: a network share lets each wait a dozen times."""
_ENLARGERS = 4
"""Of copies that are enlarged, each of which may take 300 MB."""
_AHEAD = 64


def plan_tree(
    suspects: Sequence[Suspect],
    classes: Iterable[str],
    *,
    round_number: int,
    pairs: int,
    created: str,
    style: Style = PLAIN,
    drawn: Mapping[int, Stratum] | None = None,
) -> Manifest:
    """Names every file of a tree: `<given>/[<sub/folders>/][<rank>_]<suggested>_<votes>_<original name>`.

    `suspects` are in the order of their ranks, with the images of an audit among them: of these `drawn` says where they come
    from, by the ledger's number, and no name tells the votes. Names that Windows or a network share would refuse or that are too long are changed, and
    names that would be one where case or Unicode form is not told apart are numbered; the manifest maps them all.
    """
    names = _Names()
    # These names are the tree's own; a class called so gets a number.
    names.take(".", (MARKER, *SPECIAL, *BESIDE))
    folder_of = {label: names.free(".", portable_name(unescape(label))) for label in classes}
    sub_folders: dict[tuple[str, str], str] = {}
    files: list[ExportedFile] = []
    for rank, suspect in enumerate(suspects, 1):
        parent = folder_of[suspect.given]
        *between, original = PurePosixPath(suspect.path).parts[1:]
        for part in between:
            key = (parent, part)
            if key not in sub_folders:
                names.take(parent, SPECIAL)
                sub_folders[key] = f"{parent}/{names.free(parent, portable_name(unescape(part)))}"
            parent = sub_folders[key]
        votes = "" if drawn else f"{suspect.votes:02d}_"  # few votes would tell an image of the audit
        name = f"{unescape(suspect.suggested)}_{votes}{unescape(original)}"
        if style.order is Order.RANK:
            name = f"{rank:0{len(str(len(suspects)))}d}_{name}"
        if style.enlarge != 1:
            name = f"{PurePosixPath(name).stem}.png"
        stratum = (drawn or {}).get(suspect.image)
        files.append(
            ExportedFile(
                path=f"{parent}/{names.free(parent, portable_name(name))}",
                original=suspect.path,
                given=suspect.given,
                suggested=suspect.suggested,
                votes=suspect.votes,
                score=round(suspect.score, 6),
                digest=suspect.digest,
                stratum=stratum.number if stratum else None,
                population=stratum.population if stratum else None,
            )
        )
    return Manifest(
        export=uuid.uuid4().hex,
        round=round_number,
        pairs=pairs,
        created=created,
        folders={name: label for label, name in folder_of.items()},
        enlarged=style.enlarge or 1,
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
    style: Style = PLAIN,
    max_pixels: int = MAX_PIXELS,
    sheets: str = "",
    references: Callable[[Manifest, Path], None] = lambda _manifest, _folder: None,
    ready: Callable[[Manifest], AbstractContextManager[None]] = lambda _: contextlib.nullcontext(),
    progress: Progress = silent,
) -> Manifest:
    """Copies the images to `destination`, which must not exist.

    Returns the manifest with what only the copies tell, as it stands in the tree: their sizes and digests, and when they
    were written; what `ready` makes of it is entered before the tree appears, and left when it is there. `sheets` is what
    its page shows of the classes, as HTML; `references` makes the folder of reference pictures, if any. Raises UsageError where `destination` exists, DatasetChanged where an image is no longer what the scan saw.
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

        def write(file: ExportedFile) -> _Copied:
            return _write(file, dataset, partial, factor=manifest.enlarged, max_pixels=max_pixels)

        files, settled_ns = [], 0
        with ThreadPoolExecutor(_WRITERS if manifest.enlarged == 1 else _ENLARGERS) as threads:
            for done, one in enumerate(in_order(threads, write, manifest.files, ahead=_AHEAD)):
                progress("exporting", done, len(manifest.files))
                files.append(one.file)
                settled_ns = max(settled_ns, one.changed_ns)
        for name in SPECIAL if style.only_flagged_classes else (*manifest.folders, *SPECIAL):
            real_path(partial, name).mkdir(exist_ok=True)
        write_text(partial / READ_ME, read_me.page(manifest, sheets=sheets))
        write_text(partial / CLASSES, read_me.classes(manifest))
        marker = partial / MARKER
        marker.mkdir()
        written = manifest.model_copy(update={"files": files, "settled_us": settled_ns // 1000})
        write_manifest(written, marker / "manifest.json")
        write_lines(marker / "before.txt", [file.path for file in manifest.files])
        references(written, reference_folder(partial))
        with ready(written):
            partial.rename(destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(destination.parent)
    progress("exporting", len(manifest.files), len(manifest.files))
    return written


class _Copied(NamedTuple):
    file: ExportedFile
    """With what only the copy tells."""
    changed_ns: int


def _write(file: ExportedFile, dataset: Path, tree: Path, *, factor: int, max_pixels: int) -> _Copied:
    source, copy = real_path(dataset, file.original), real_path(tree, file.path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    if factor > 1:
        content = _enlarged(source, file.digest, factor, max_pixels)
        copy.write_bytes(content)
        file = replace(file, copy_digest=hashlib.sha256(content).hexdigest())
    else:
        _copy(source, copy, file.digest)
    stat = _dated(source, copy)
    return _Copied(replace(file, size=stat.st_size), stat.st_ctime_ns)


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


def _copy(source: Path, target: Path, digest: str) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise _gone(source) from None
    if digest_file(target) != digest:
        raise _changed(source)


def _enlarged(source: Path, digest: str, factor: int, max_pixels: int) -> bytes:
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        raise _gone(source) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise _changed(source)
    try:
        return enlarged(content, factor, max_pixels=max_pixels)
    except ImageError as error:
        raise ImageError(f"{source}: {error.message}", hint=error.hint) from None


def _dated(source: Path, target: Path) -> os.stat_result:
    """Gives a copy the times and rights of what it was made from."""
    shutil.copystat(source, target)
    target.chmod(target.stat().st_mode | 0o200)  # a read-only dataset must not make an undeletable tree
    return target.stat()


def _gone(source: Path) -> DatasetChanged:
    return DatasetChanged(f"{source} is gone.", hint="Run `dupekit scan`, then export again.")


def _changed(source: Path) -> DatasetChanged:
    return DatasetChanged(
        f"{source} changed since the last scan.",
        hint="Run `dupekit scan`, or, where size and time are as they were, `dupekit scan --all`; the round was"
        " trained on the earlier content.",
    )
