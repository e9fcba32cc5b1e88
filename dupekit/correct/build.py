"""Plan -> corrected dataset. The original is only ever read.

The dataset is built in a hidden folder beside its destination, `.NAME.partial`, and renamed when it is complete:

    plan.json   which plan is being built, so that a later call knows whether it may go on
    data/       the files that are whole
    next        the file that is being written
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from dupekit.correct.copying import Mode, Original, is_placed, place
from dupekit.correct.placements import DatasetPlan
from dupekit.errors import DatasetChanged, UsageError
from dupekit.files.json_text import parse_json
from dupekit.files.names import escape, unescape
from dupekit.files.paths import make_parent
from dupekit.files.regular import read_regular
from dupekit.files.write import sync_folder, write_text
from dupekit.review.manifest import refuse_inside_tree
from dupekit.system.progress import Progress, silent, stage

_log = logging.getLogger(__name__)


def check_destination(dataset: Path, destination: Path) -> None:
    """Raises UsageError where writing there could touch the dataset, a review tree, or anything else that exists."""
    if os.path.lexists(destination):
        raise UsageError(
            f"{destination} exists already; a corrected dataset is never written into it.",
            hint="Name a folder that does not exist yet.",
        )
    refuse_inside_tree(destination)
    _check_apart(dataset, destination)


def _check_apart(dataset: Path, destination: Path) -> None:
    real, source = destination.resolve(), dataset.resolve()
    inside = real.is_relative_to(source) or source.is_relative_to(real)
    # A folder mounted a second time has another path, but the same number on the same device.
    with contextlib.suppress(FileNotFoundError), os.scandir(source) as entries:
        classes = [Path(entry.path) for entry in entries if entry.is_dir()]
        known = {_identity(folder) for folder in (source, *classes)}
        inside = inside or any(_identity(folder) in known for folder in real.parents if folder.exists())
    if inside:
        raise UsageError(
            f"{destination} lies inside the dataset {dataset}, or the dataset inside it.",
            hint="Name a folder beside the dataset.",
        )


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def partial_of(destination: Path) -> Path:
    """The hidden folder in which a dataset is built."""
    return destination.with_name(f".{destination.name[:100]}.partial")


def is_finished(destination: Path) -> bool:
    """Whether an earlier call has put the destination in place and was killed before it said so."""
    found = _plan_of(partial_of(destination))
    return found is not None and _is_renamed(partial_of(destination), destination, str(found["plan"]))


def write_dataset(
    plan: DatasetPlan,
    dataset: Path,
    destination: Path,
    *,
    mode: Mode = "copy",
    progress: Progress = silent,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Writes the corrected dataset under a temporary name and renames it when it is complete.

    Killed, interrupted or out of room, it leaves `partial_of(destination)`; the same call then goes on with
    what is missing, and any other call for this destination begins anew. `done` is called when the dataset
    stands at its destination; it is called again by the next call where the process died before it returned.

    Raises UsageError as `check_destination`, where links cannot be made, and where the file system takes two
    names for one; DatasetChanged where a file is not what the last scan saw: both leave nothing behind.
    Raises DupekitError where the destination cannot be written.
    """
    partial = partial_of(destination)
    key = _call_key(plan, dataset, mode)
    if _is_renamed(partial, destination, key):
        done()
        shutil.rmtree(partial)
        return
    others = {placement.root for those in plan.coming.values() for placement in those if placement.root}
    for root in (dataset, *others):
        check_destination(root, destination)
    make_parent(destination)
    _prepare(partial, key)
    try:
        _build(plan, dataset, partial, mode, progress)
    except (UsageError, DatasetChanged):
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if hasattr(os, "sync"):
        with stage(progress, "saving to disk"):
            os.sync()  # once, for all files: as durable as a million fsyncs, and much faster
    write_text(partial / "plan.json", json.dumps({"plan": key, "complete": True}))
    check_destination(dataset, destination)  # an empty folder made there meanwhile would be replaced
    (partial / "data").rename(destination)
    sync_folder(destination.parent)
    done()
    shutil.rmtree(partial)
    progress("writing", plan.count, plan.count)


def _build(plan: DatasetPlan, dataset: Path, partial: Path, mode: Mode, progress: Progress) -> None:
    data = partial / "data"
    data.mkdir(exist_ok=True)
    temporary = partial / "next"
    temporary.unlink(missing_ok=True)  # of a process that was killed
    begun = _begun(data, plan.classes())
    if begun:
        _log.info("Going on with %s.", partial.name)
    count, top, built = 0, str(dataset), str(data)
    for label in plan.classes():
        there = (
            _clear_strangers(data, label, {p.path for p in plan.of_class(label)}) if label in begun else ()
        )
        folder = real_folder = made = ""
        for source, path, root in plan.of_class(label):
            if count % 64 == 0:
                progress("writing", count, plan.count)
            count += 1
            # By strings, and each folder resolved once: of a million files this counts.
            above, _, name = f"{root or top}/{unescape(source.path)}".rpartition("/")
            if above != folder:
                folder, real_folder = above, os.path.realpath(above)
            original = Original(f"{real_folder}/{name}", source.size, source.mtime_ns, source.digest)
            target = f"{built}/{unescape(path)}"
            if path in there:
                if is_placed(original, target, mode):
                    continue
                Path(target).unlink()
            if (parent := target.rpartition("/")[0]) != made:
                Path(parent).mkdir(parents=True, exist_ok=True)
                made = parent
            try:
                place(original, target, temporary, mode)
            except FileExistsError:
                raise UsageError(
                    f"{path} and another file of the dataset have names that are one to the file system"
                    f" of {partial.parent}.",
                    hint="Name a destination on a file system that tells case and Unicode forms apart.",
                ) from None


def _begun(data: Path, classes: Collection[str]) -> set[str]:
    """The classes that an earlier call began, by the names that their folders have. What else lies there goes."""
    begun = set()
    with os.scandir(data) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
            elif (label := escape(entry.name)) in classes:
                begun.add(label)
            else:
                shutil.rmtree(entry.path)
    return begun


def _clear_strangers(data: Path, label: str, wanted: set[str]) -> set[str]:
    """Removes what the plan does not hold from a class that an earlier call began; the paths that stay.

    Links to folders go, so that nothing is ever written through one.
    """
    there: set[str] = set()
    for folder, folders, files in os.walk(data / unescape(label)):
        for name in (*files, *(n for n in folders if Path(folder, n).is_symlink())):
            path = Path(folder, name)
            text = escape(path.relative_to(data).as_posix())
            if text in wanted:
                there.add(text)
            else:
                path.unlink()
    return there


def _prepare(partial: Path, key: str) -> None:
    """Makes the hidden folder, or takes up the one that an earlier call has left."""
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        raise _foreign(partial)
    if partial.exists():
        found = _plan_of(partial)
        begun = {entry.name for entry in partial.iterdir()}
        if found is None and not all(name.startswith(".plan.json.") for name in begun):
            raise _foreign(partial)
        if found is not None and found["plan"] == key and not (partial / "data").is_symlink():
            return
        if found is not None:
            _log.info("Removing %s, begun for another plan or mode; building anew.", partial.name)
        shutil.rmtree(partial)
    partial.mkdir()
    write_text(partial / "plan.json", json.dumps({"plan": key, "complete": False}))


def _is_renamed(partial: Path, destination: Path, key: str) -> bool:
    """Whether an earlier call with this plan was killed after its last rename, before it could say so."""
    if partial.is_symlink() or _plan_of(partial) != {"plan": key, "complete": True}:
        return False
    return not os.path.lexists(partial / "data") and destination.is_dir() and not destination.is_symlink()


def _plan_of(partial: Path) -> dict[str, object] | None:
    try:
        found = parse_json(read_regular(partial / "plan.json"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and set(found) == {"plan", "complete"} else None


def _call_key(plan: DatasetPlan, dataset: Path, mode: Mode) -> str:
    """Equal for calls that would write the same files from the same place in the same way."""
    return hashlib.sha256(f"{mode}\n{escape(str(dataset.resolve()))}\n{plan.key}".encode()).hexdigest()


def _foreign(partial: Path) -> UsageError:
    return UsageError(
        f"{partial} is in the way, and was not left by an earlier `dupekit apply`.",
        hint="Look what it is and move it away, or name another destination.",
    )
