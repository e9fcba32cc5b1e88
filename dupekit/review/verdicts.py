"""Manifest and a listing of the tree -> verdicts.

Events never decide: a verdict comes from comparing what was exported with what lies there now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.files.names import is_class_name, same_name_key, sort_key, unescape
from dupekit.files.paths import real_path
from dupekit.files.write import digest_file
from dupekit.review.listing import Listing, Vanished, settled_listing, unreadable
from dupekit.review.manifest import EXPUNGE, MARKER, UNSURE, ExportedFile, Manifest, read_manifest
from dupekit.review.match import Index, match

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


def judge(
    manifest: Manifest, listing: Listing, digest: Callable[[str], str], *, index: Index | None = None
) -> Review:
    """The verdict on every exported file, from where it lies now; `digest` as in `match`, `index` of the manifest."""
    found = match(index or Index(manifest), listing, digest)
    verdicts = [_verdict(file, found.place.get(file.path, ""), manifest) for file in manifest.files]
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
