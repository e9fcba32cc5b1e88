"""Manifest and a listing of the tree -> verdicts.

Events never decide: a verdict comes from comparing what was exported with what lies there now.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files import digest_file, escape, is_clutter, is_trash, real_path, same_name_key, sort_key
from dupekit.manifest import EXPUNGE, MARKER, UNSURE, ExportedFile, Manifest, read_manifest

CORRECT, RELABEL, EXPUNGED, UNDECIDED = "correct", "relabel", "expunge", "unsure"

Listing = dict[str, tuple[int, int]]
"""Escaped path -> size in bytes and modification time in ns."""


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


def list_tree(tree: Path) -> Listing:
    """Every file of a review tree, but for its marker, clutter of the system and trash folders.

    Raises TreeUnavailable where the marker is missing or any folder cannot be read: that must never look
    like files deleted.
    """
    _require_marker(tree)
    listing: Listing = {}
    folders = [tree]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_clutter(entry.name) or is_trash(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if not (folder == tree and entry.name == MARKER):
                            folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        stat = entry.stat(follow_symlinks=False)
                        path = escape(Path(entry.path).relative_to(tree).as_posix())
                        listing[path] = (stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            raise TreeUnavailable(
                f"The folder {folder} of the review tree cannot be read: {error.strerror}.",
                hint="Nothing was taken as deleted. Make it readable and try again.",
            ) from None
    _require_marker(tree)  # the share may have gone away while we read
    return listing


def _require_marker(tree: Path) -> None:
    try:
        why = "" if (tree / MARKER).is_dir() else f"it has no folder {MARKER}"
    except OSError as error:  # as of a share that is mounted, but whose server does not answer
        why = str(error.strerror)
    if why:
        raise TreeUnavailable(
            f"{tree} is not available as a review tree: {why}.",
            hint="Check the path and that its share is mounted. Nothing was taken as deleted.",
        )


def settled_listing(tree: Path, *, attempts: int = 20, pause_s: float = 0.25) -> Listing:
    """A listing that two readings in a row agree on. Raises TreeUnavailable where the tree never rests."""
    before = list_tree(tree)
    for _ in range(attempts):
        after = list_tree(tree)
        if after == before:
            return after
        before = after
        time.sleep(pause_s)
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
    place: dict[str, str] = {}
    for file in manifest.files:
        others = namesakes.get(_name_key(file.path), set()) - {file.digest} if namesakes else None
        if file.path in listing and not (others and digest(file.path) in others):
            place[file.path] = file.path
    unknown = {path for path in listing if path not in place}
    by_key = {same_name_key(path): path for path in unknown}
    for file in manifest.files:
        twin = by_key.get(same_name_key(file.path)) if file.path not in place else None
        if twin in unknown and twin != file.path:
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
    # Of equal contents, first all that kept their name, then all that kept their folder, then the rest in order.
    for farthest in ((False, True), (True, False), (True, True)):
        for file in missing:
            candidates = found.get(file.digest)
            if not candidates or file.path in place:
                continue
            best = min(candidates, key=lambda path: _distance(file.path, path))
            if _distance(file.path, best)[:2] <= farthest:
                candidates.remove(best)
                unknown.remove(best)
                place[file.path] = best
    _place_by_name(manifest, place, unknown)
    verdicts = [_verdict(file, place.get(file.path, ""), manifest) for file in manifest.files]
    return Review(verdicts, sorted(unknown, key=sort_key))


def review_tree(tree: Path, manifest: Manifest) -> Review:
    """Reads a tree and judges it. Raises TreeUnavailable as `settled_listing`."""
    return judge(manifest, settled_listing(tree), lambda path: _digest(tree, path))


def _digest(tree: Path, path: str) -> str:
    try:
        return digest_file(real_path(tree, path))
    except OSError as error:
        raise TreeUnavailable(
            f"{path} in the review tree cannot be read: {error.strerror}.",
            hint="Nothing was recorded. Make it readable, or wait until it is written, and try again.",
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


def _distance(exported: str, path: str) -> tuple[bool, bool, bytes]:
    parent, _, name = exported.rpartition("/")
    other_parent, _, other_name = path.rpartition("/")
    return name != other_name, parent != other_parent, sort_key(path)


def _verdict(file: ExportedFile, now_at: str, manifest: Manifest) -> Verdict:
    if not now_at:
        return Verdict(file, CORRECT, file.given, "")
    folder, slash, _ = now_at.partition("/")
    exported_in = file.path.partition("/")[0]
    if same_name_key(folder) == same_name_key(exported_in):
        return Verdict(file, RELABEL, file.suggested, now_at)
    if same_name_key(folder) == EXPUNGE:
        return Verdict(file, EXPUNGED, file.given, now_at)
    if same_name_key(folder) == UNSURE or not slash:  # a file beside the class folders is in no class
        return Verdict(file, UNDECIDED, file.given, now_at)
    known = {same_name_key(name): label for name, label in manifest.folders.items()}
    return Verdict(file, RELABEL, known.get(same_name_key(folder), folder), now_at)
