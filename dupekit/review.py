"""Manifest and a listing of the tree -> verdicts.

Events never decide: a verdict comes from comparing what was exported with what lies there now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.files import digest_file, real_path, same_name_key, sort_key
from dupekit.listing import Listing, Vanished, settled_listing, unreadable
from dupekit.manifest import EXPUNGE, MARKER, UNSURE, ExportedFile, Manifest, read_manifest
from dupekit.matching import match

CORRECT, RELABEL, EXPUNGED, UNDECIDED = "correct", "relabel", "expunge", "unsure"


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


def tree_manifest(tree: Path) -> Manifest:
    """The manifest that a review tree carries in its marker folder."""
    return read_manifest(tree / MARKER / "manifest.json")


def judge(manifest: Manifest, listing: Listing, digest: Callable[[str], str]) -> Review:
    """The verdict on every exported file, from where it lies now; `digest` as in `match`."""
    found = match(manifest, listing, digest)
    labels = {same_name_key(folder): label for folder, label in manifest.folders.items()}
    verdicts = [_verdict(file, found.place.get(file.path, ""), labels) for file in manifest.files]
    return Review(verdicts, sorted(found.unknown, key=sort_key))


def review_tree(tree: Path, manifest: Manifest) -> Review:
    """Reads a tree and judges it. Raises TreeUnavailable as `settled_listing`."""
    attempts = 5
    while True:
        try:
            return judge(manifest, settled_listing(tree), lambda path: digest_of(tree, path))
        except Vanished:  # a file, after it was listed: the listing is out of date
            attempts -= 1
            if not attempts:
                raise


def digest_of(tree: Path, path: str) -> str:
    """The digest of a file in a tree. Raises TreeUnavailable where it cannot be read, Vanished where it is gone."""
    try:
        return digest_file(real_path(tree, path))
    except OSError as error:
        raise unreadable(
            error,
            f"{path} in the review tree cannot be read: {error.strerror}.",
            hint="Make it readable, or wait until it is written, and try again.",
        ) from None


def _verdict(file: ExportedFile, now_at: str, labels: Mapping[str, str]) -> Verdict:
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
    return Verdict(file, RELABEL, labels.get(same_name_key(folder), folder), now_at)
