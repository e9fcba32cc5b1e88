"""Manifest and a listing of the tree -> verdicts.

Events never decide: a verdict comes from comparing what was exported with what lies there now.
"""

from __future__ import annotations

import errno
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files import (
    digest_file,
    escape,
    is_class_name,
    is_clutter,
    is_trash,
    real_path,
    same_name_key,
    sort_key,
    unescape,
)
from dupekit.manifest import EXPUNGE, MARKER, UNSURE, ExportedFile, Manifest, read_manifest

CORRECT, RELABEL, EXPUNGED, UNDECIDED = "correct", "relabel", "expunge", "unsure"

_ATTEMPTS, _PAUSE_S = 21, 0.25

Listing = dict[str, tuple[int, int, int]]
"""Escaped path -> size in bytes, and times in ns of the last modification and of the last change of any kind: a
file that took the place of an equally long and equally old one, as from one archive, differs in the last alone."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the technician decided on one exported file."""

    file: ExportedFile
    verdict: str
    """"correct", "relabel", "expunge" or "unsure"."""
    label: str
    """The label it shall have: escaped; the given one where it stays."""
    now_at: str
    """Where it lies in the tree; empty where it was deleted."""


@dataclass(frozen=True, slots=True)
class Review:
    """All verdicts on a tree, in the order of the manifest."""

    verdicts: list[Verdict]
    strangers: list[str] = field(default_factory=list)
    """Files in the tree that were not exported, or are second copies; they decide nothing."""


class _Vanished(TreeUnavailable):
    """What was listed a moment ago is not there: a file manager is at work, or it never could be opened."""


_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


def _unreadable(error: OSError, message: str, *, hint: str) -> TreeUnavailable:
    kind = _Vanished if error.errno in _GONE else TreeUnavailable
    return kind(message, hint=f"Nothing was taken as deleted. {hint}")


def require_marker(tree: Path) -> None:
    """Raises TreeUnavailable where this is no review tree, or none that can be reached."""
    try:
        why = "" if (tree / MARKER).is_dir() else f"it has no folder {MARKER}"
    except OSError as error:  # as of a share that is mounted, but whose server does not answer
        why = str(error.strerror)
    if why:
        raise TreeUnavailable(
            f"{tree} is not available as a review tree: {why}.",
            hint="Check the path and that its share is mounted. Nothing was taken as deleted.",
        )


def list_tree(tree: Path) -> Listing:
    """Every file of a review tree, but for its marker, clutter of the system and trash folders.

    Raises TreeUnavailable where the marker is missing, any folder cannot be read, or a link stands for a file or
    a folder: that must never look like files deleted.
    """
    require_marker(tree)
    listing: Listing = {}
    folders = [tree]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_clutter(entry.name) or is_trash(entry.name):
                        continue
                    if entry.is_symlink():
                        raise _linked(tree, entry)
                    if entry.is_dir(follow_symlinks=False):
                        if not (folder == tree and entry.name == MARKER):
                            folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        stat = entry.stat(follow_symlinks=False)
                        path = escape(Path(entry.path).relative_to(tree).as_posix())
                        listing[path] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError as error:
            raise _unreadable(
                error,
                f"The folder {folder} of the review tree cannot be read: {error.strerror}.",
                hint="Make it readable and try again.",
            ) from None
    require_marker(tree)  # the share may have gone away while we read
    return listing


def _linked(tree: Path, entry: os.DirEntry[str]) -> TreeUnavailable:
    path = escape(Path(entry.path).relative_to(tree).as_posix())
    return TreeUnavailable(
        f"{path} in the review tree is a link, and what it leads to is not part of the tree.",
        hint="Nothing was taken as deleted. Put the file or folder itself there, or remove the link, and try again.",
    )


def settled_listing(tree: Path) -> Listing:
    """A listing that two readings in a row agree on.

    Raises TreeUnavailable where the tree never rests, and where something in it cannot be read: at once, or, if
    it may have been deleted after its folder was listed, when it is still listed in the last reading.
    """
    before: Listing | None = None
    vanished: _Vanished | None = None
    for attempt in range(_ATTEMPTS):
        if attempt > 1:
            time.sleep(_PAUSE_S)
        try:
            after, vanished = list_tree(tree), None
        except _Vanished as error:
            before, vanished = None, error
            continue
        if after == before:
            return after
        before = after
    if vanished:
        raise TreeUnavailable(vanished.message, hint=vanished.hint)
    raise TreeUnavailable(
        f"{tree} keeps changing while it is read.",
        hint="Wait until the file manager has finished, then try again.",
    )


def tree_manifest(tree: Path) -> Manifest:
    """The manifest that a review tree carries in its marker folder."""
    return read_manifest(tree / MARKER / "manifest.json")


def judge(manifest: Manifest, listing: Listing, digest: Callable[[str], str]) -> Review:
    """The verdict on every exported file.

    A file that lies where it was exported is recognised by its path (also where case or Unicode form
    changed, as on a journey over another computer), unless it holds what was exported elsewhere under the
    same name; any other by its content; and what was edited as well as moved by its name, if that is the
    only one. `digest` gives the digest of a file in the tree and is asked only where a path does not say all.
    """
    namesakes = _namesakes(manifest)

    def is_namesake(file: ExportedFile, path: str) -> bool:
        others = namesakes.get(_name_key(file.path)) if namesakes else None
        return others is not None and digest(path) in others - {file.digest}

    place: dict[str, str] = {}
    for file in manifest.files:
        if file.path in listing and not is_namesake(file, file.path):
            place[file.path] = file.path
    unknown = {path for path in listing if path not in place}
    by_key = {same_name_key(path): path for path in sorted(unknown, key=sort_key, reverse=True)}
    for file in manifest.files:
        twin = by_key.get(same_name_key(file.path)) if file.path not in place else None
        if twin in unknown and twin != file.path and not is_namesake(file, twin):
            place[file.path] = twin
            unknown.remove(twin)

    missing = [file for file in manifest.files if file.path not in place]
    found: dict[str, list[str]] = defaultdict(list)
    if missing:
        for path in sorted(unknown, key=sort_key):
            found[digest(path)].append(path)
        while displaced := _displaced(manifest, place, found, digest):
            for file in displaced:
                path = place.pop(file.path)
                unknown.add(path)
                found[digest(path)].append(path)
                missing.append(file)
    _place_by_content(missing, found, place, unknown)
    _place_by_name(manifest, place, unknown)
    verdicts = [_verdict(file, place.get(file.path, ""), manifest) for file in manifest.files]
    return Review(verdicts, sorted(unknown, key=sort_key))


def review_tree(tree: Path, manifest: Manifest) -> Review:
    """Reads a tree and judges it. Raises TreeUnavailable as `settled_listing`."""
    attempts = 5
    while True:
        try:
            return judge(manifest, settled_listing(tree), lambda path: _digest(tree, path))
        except _Vanished:  # a file, after it was listed: the listing is out of date
            attempts -= 1
            if not attempts:
                raise


def _digest(tree: Path, path: str) -> str:
    try:
        return digest_file(real_path(tree, path))
    except OSError as error:
        raise _unreadable(
            error,
            f"{path} in the review tree cannot be read: {error.strerror}.",
            hint="Make it readable, or wait until it is written, and try again.",
        ) from None


def _namesakes(manifest: Manifest) -> dict[str, set[str]]:
    """Name -> digests, of names that were exported with more than one content."""
    first: dict[str, str] = {}
    found: dict[str, set[str]] = defaultdict(set)  # of few, or none: a set a file would take much memory
    for file in manifest.files:
        key = _name_key(file.path)
        if first.setdefault(key, file.digest) != file.digest:
            found[key] |= {first[key], file.digest}
    return found


def _displaced(
    manifest: Manifest, place: dict[str, str], found: dict[str, list[str]], digest: Callable[[str], str]
) -> list[ExportedFile]:
    """Files whose content was found elsewhere, while at their own path lies another exported file."""
    exported = {file.digest for file in manifest.files}
    there = [file for file in manifest.files if file.path in place and file.digest in found]
    held = [(file, digest(place[file.path])) for file in there]
    return [file for file, other in held if other != file.digest and other in exported]


def _place_by_content(
    missing: list[ExportedFile], found: dict[str, list[str]], place: dict[str, str], unknown: set[str]
) -> None:
    """Of equal contents, first each file that kept its name, then each that kept its folder, then the others."""
    for kept in (_name_key, _parent_key, lambda _: ""):
        for file in [file for file in missing if file.path not in place]:
            there = [path for path in found.get(file.digest, ()) if path in unknown]
            if candidates := [path for path in there if kept(path) == kept(file.path)]:
                best = min(candidates, key=lambda path: _distance(file.path, path))
                unknown.remove(best)
                place[file.path] = best


def _place_by_name(manifest: Manifest, place: dict[str, str], unknown: set[str]) -> None:
    """What was edited and moved: one file missing, and one unknown file, of that name."""
    there: dict[str, list[str]] = defaultdict(list)
    for path in unknown:
        there[_name_key(path)].append(path)
    missing: dict[str, list[str]] = defaultdict(list)
    for file in manifest.files if there else ():
        if file.path not in place and (key := _name_key(file.path)) in there:
            missing[key].append(file.path)
    for key, paths in missing.items():
        if len(paths) == len(there[key]) == 1:
            place[paths[0]] = there[key][0]
            unknown.remove(there[key][0])


def _name_key(path: str) -> str:
    return same_name_key(path.rpartition("/")[2])


def _parent_key(path: str) -> str:
    return same_name_key(path.rpartition("/")[0])


def _distance(exported: str, path: str) -> tuple[bool, bool, bytes]:
    parent, _, name = exported.rpartition("/")
    other_parent, _, other_name = path.rpartition("/")
    return name != other_name, parent != other_parent, sort_key(path)


def _verdict(file: ExportedFile, now_at: str, manifest: Manifest) -> Verdict:
    if not now_at:
        return Verdict(file, CORRECT, file.given, "")
    folder, slash, _ = now_at.partition("/")
    # A file beside the class folders is in no class.
    verdict, label = meaning(file, folder, manifest) if slash else (UNDECIDED, file.given)
    return Verdict(file, verdict, label, now_at)


def meaning(file: ExportedFile, folder: str, manifest: Manifest) -> tuple[str, str]:
    """The verdict on a file, and its label, that lies in or below this folder at the top of the tree."""
    key = same_name_key(folder)
    if key == same_name_key(file.path.partition("/")[0]):
        return RELABEL, file.suggested
    if key == EXPUNGE:
        return EXPUNGED, file.given
    label = "" if key == UNSURE else class_of(folder, manifest)
    return (RELABEL, label) if label else (UNDECIDED, file.given)


def class_of(folder: str, manifest: Manifest) -> str:
    """The class that a folder at the top stands for: of the dataset, by the folder's name or its own, or a new one.

    Empty where no dataset can have a class of that name, as every scan passes over what begins with a dot.
    """
    key = same_name_key(folder)
    for name, label in manifest.folders.items():
        if same_name_key(name) == key:
            return label
    for label in manifest.folders.values():
        if same_name_key(label) == key:
            return label
    return folder if is_class_name(unescape(folder)) else ""
