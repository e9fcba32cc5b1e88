"""Manifest and a listing of the tree -> verdicts.

Events never decide: a verdict comes from comparing what was exported with what lies there now.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from dupekit.files.names import is_class_name, same_name_key, sort_key, unescape
from dupekit.files.paths import real_path
from dupekit.files.write import digest_file
from dupekit.review.listing import Entry, Listing, Vanished, settled_listing, unreadable
from dupekit.review.manifest import EXPUNGE, MARKER, UNSURE, ExportedFile, Manifest, read_manifest
from dupekit.review.match import Index, match
from dupekit.review.tree_paths import hidden, top, top_key

_NEAR = 0.85
"""From this similarity on (difflib's ratio) a new name may be a misspelt one."""


class Verdict(StrEnum):
    """What the technician decided on an image; written so in ledger and JSON."""

    CORRECT = "correct"
    RELABEL = "relabel"
    EXPUNGE = "expunge"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What the technician decided on one exported file."""

    file: ExportedFile
    verdict: Verdict
    label: str
    """The label it shall have: escaped; the given one where it stays."""
    now_at: str | None
    """Where it lies in the tree; None where it was deleted."""

    @property
    def in_its_class(self) -> bool:
        """Whether it lies in or below the folder at the top that it was exported to."""
        now, exported = top(self.now_at), top(self.file.path)
        return now == exported or (now is not None and same_name_key(now) == top_key(self.file.path))


@dataclass(frozen=True, slots=True)
class Review:
    """All verdicts on a tree, in the order of the manifest."""

    verdicts: list[FileVerdict]
    strangers: list[str] = field(default_factory=list)
    """Files in the tree that were not exported, or are second copies; they decide nothing."""

    def places(self) -> list[str]:
        """Where exported files lie now: what after.txt lists."""
        return [v.now_at for v in self.verdicts if v.now_at is not None]


@dataclass(frozen=True, slots=True)
class Reading:
    """A tree at one time: what lay there, and what that means."""

    listing: Listing
    review: Review


@dataclass(frozen=True, slots=True)
class Meaning:
    """What it means to lie in a folder."""

    verdict: Verdict
    label: str


def tree_manifest(tree: Path) -> Manifest:
    """The manifest that a review tree carries in its marker folder."""
    return read_manifest(tree / MARKER / "manifest.json")


def judge(
    manifest: Manifest,
    files: Mapping[str, Entry],
    digest: Callable[[str], str],
    *,
    index: Index | None = None,
) -> Review:
    """The verdict on every exported file, from where it lies now; `digest` as in `match`, `index` of the manifest."""
    found = match(index or Index(manifest), files, digest)
    verdicts = [_verdict(file, found.place.get(file.path), manifest) for file in manifest.files]
    return Review(verdicts, sorted(found.unknown, key=sort_key))


def read_tree(tree: Path, manifest: Manifest) -> Reading:
    """Reads a tree and judges it. Raises TreeUnavailable as `settled_listing`."""
    attempts = 5
    while True:
        try:
            listing = settled_listing(tree)
            return Reading(listing, judge(manifest, listing.files, lambda path: digest_of(tree, path)))
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


def _verdict(file: ExportedFile, now_at: str | None, manifest: Manifest) -> FileVerdict:
    if now_at is None:
        return FileVerdict(file, Verdict.CORRECT, file.given, None)
    folder = top(now_at)
    if folder is None:  # a file beside the class folders is in no class
        return FileVerdict(file, Verdict.UNSURE, file.given, now_at)
    means = meaning(file, folder, manifest)
    if means.verdict == Verdict.RELABEL and hidden(now_at) and not hidden(file.path):
        means = Meaning(Verdict.UNSURE, file.given)  # no person gave it that name
    return FileVerdict(file, means.verdict, means.label, now_at)


def meaning(file: ExportedFile, folder: str, manifest: Manifest) -> Meaning:
    """What it means for a file that it lies in or below this folder at the top of the tree."""
    key = same_name_key(folder)
    if key == top_key(file.path):
        return Meaning(Verdict.RELABEL, file.suggested)
    if key == EXPUNGE:
        return Meaning(Verdict.EXPUNGE, file.given)
    label = None if key == UNSURE else class_of(folder, manifest)
    if label is None:
        return Meaning(Verdict.UNSURE, file.given)
    return Meaning(Verdict.RELABEL, label)


def class_of(folder: str, manifest: Manifest) -> str | None:
    """The class that a folder at the top stands for: of the dataset, by the folder's name or its own, or a new one.

    None where no dataset can have a class of that name, as every scan passes over what begins with a dot.
    """
    key = same_name_key(folder)
    for name, label in manifest.folders.items():
        if same_name_key(name) == key:
            return label
    for label in manifest.folders.values():
        if same_name_key(label) == key:
            return label
    return folder if is_class_name(unescape(folder)) else None


def new_classes(review: Review, manifest: Manifest) -> list[str]:
    """Labels that are no class of the dataset, sorted: each is the name of a folder at the top of the tree."""
    return sorted({v.label for v in review.verdicts} - set(manifest.folders.values()), key=sort_key)


def misspelt(review: Review, manifest: Manifest) -> dict[str, str]:
    """New class -> the class of the dataset whose name is nearly its own."""
    classes = {same_name_key(label): label for label in manifest.folders.values()}
    found = {}
    for label in new_classes(review, manifest):
        if near := difflib.get_close_matches(same_name_key(label), classes, n=1, cutoff=_NEAR):
            found[label] = classes[near[0]]
    return found


def in_one_spelling(review: Review, manifest: Manifest, known: Iterable[str]) -> Review:
    """The same, where new classes whose names differ in case or Unicode form only are one class: on most systems they are
    one folder. It is called as in `known`, labels that were decided in other trees, if it is there."""
    spelling: dict[str, str] = {}
    new = new_classes(review, manifest)
    for label in (*known, *new):
        spelling.setdefault(same_name_key(label), label)
    other = {
        label: spelling[same_name_key(label)] for label in new if spelling[same_name_key(label)] != label
    }
    if not other:
        return review
    verdicts = [replace(v, label=other.get(v.label, v.label)) for v in review.verdicts]
    return Review(verdicts, review.strangers)


def concealed(review: Review) -> list[str]:
    """Where images lie under hidden names that they were not exported under: read as unsure, for a server or a sync program
    may have called so what was deleted."""
    found = []
    for v in review.verdicts:
        folder, _, below = (v.now_at or "").partition("/")
        by_name = hidden(below) and not hidden(v.file.path) and same_name_key(folder) != UNSURE
        if v.now_at and v.verdict == Verdict.UNSURE and by_name:
            found.append(v.now_at)
    return found


def unusable(review: Review, manifest: Manifest) -> dict[str, int]:
    """Folders at the top whose names no class can have -> how many images lie there, read as unsure."""
    found = Counter(
        place for v in review.verdicts if v.verdict == Verdict.UNSURE and (place := top(v.now_at))
    )
    return {
        place: count
        for place, count in found.items()
        if same_name_key(place) != UNSURE and class_of(place, manifest) is None
    }
