"""Manifest and a listing of the tree -> verdicts.

Events never decide: a verdict comes from comparing what was exported with what lies there now.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from dupekit.files.names import same_name_key, sort_key
from dupekit.files.paths import real_path
from dupekit.files.write import digest_file
from dupekit.review.listing import Entry, Listing, Vanished, settled_listing, unreadable
from dupekit.review.manifest import EXPUNGE, MARKER, RIGHT, UNSURE, ExportedFile, Manifest, read_manifest
from dupekit.review.match import Index, match
from dupekit.review.places import Places
from dupekit.review.tree_paths import hidden

_NEAR = 0.85
"""From this similarity on (difflib's ratio) a new name may be a misspelt one."""


class Verdict(StrEnum):
    """What the technician decided on an image; written so in ledger and JSON."""

    CORRECT = "correct"
    RELABEL = "relabel"
    EXPUNGE = "expunge"
    UNSURE = "unsure"
    OPEN = "open"
    """None yet: it lies as it was exported, and nobody said that this is meant."""


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What the technician decided on one exported file."""

    file: ExportedFile
    verdict: Verdict
    label: str
    """The label it shall have: escaped; the given one where it stays."""
    now_at: str | None
    """Where it lies in the tree; None where it was deleted."""
    in_its_class: bool = False
    """Whether it lies in or below the folder that it was exported to, also where that was moved to `_done`."""


@dataclass(frozen=True, slots=True)
class Review:
    """All verdicts on a tree, in the order of the manifest."""

    verdicts: list[FileVerdict]
    strangers: list[str] = field(default_factory=list)
    """Files in the tree that were not exported, or are second copies; they decide nothing."""

    @property
    def open(self) -> list[FileVerdict]:
        """What nothing was decided on."""
        return [v for v in self.verdicts if v.verdict is Verdict.OPEN]

    def open_by_class(self) -> dict[str, int]:
        """Given label -> how many of its images are open; without those that have none. Sorted."""
        counts = Counter(v.file.given for v in self.open)
        return {label: counts[label] for label in sorted(counts, key=sort_key)}

    def places(self) -> list[str]:
        """Where exported files lie now: what after.txt lists."""
        return [v.now_at for v in self.verdicts if v.now_at is not None]


@dataclass(frozen=True, slots=True)
class Reading:
    """A tree at one time: what lay there, and what that means."""

    listing: Listing
    review: Review


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
    index = index or Index(manifest)
    found = match(index, files, digest)
    verdicts = [verdict_at(file, found.place.get(file.path), index.places) for file in manifest.files]
    return Review(verdicts, sorted(found.unknown, key=sort_key))


def finished(review: Review, labels: Collection[str]) -> Review:
    """The same, where somebody says that these classes are finished: what is open in them is wrong, as suggested."""
    if not labels:
        return review
    verdicts = [
        replace(v, verdict=Verdict.RELABEL, label=v.file.suggested)
        if v.verdict is Verdict.OPEN and v.file.given in labels
        else v
        for v in review.verdicts
    ]
    return replace(review, verdicts=verdicts)


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


_SPECIAL = {RIGHT: Verdict.CORRECT, EXPUNGE: Verdict.EXPUNGE, UNSURE: Verdict.UNSURE}


def verdict_at(file: ExportedFile, now_at: str | None, places: Places) -> FileVerdict:
    """The verdict on a file that lies at a path of the tree, or was deleted."""
    if now_at is None:
        return FileVerdict(file, Verdict.CORRECT, file.given, None)
    place = places.of(now_at)
    if place.special:
        return FileVerdict(file, _SPECIAL[place.special], file.given, now_at)
    if hidden(place.rest) and not hidden(file.path):  # no person gave it that name
        return FileVerdict(file, Verdict.UNSURE, file.given, now_at)
    if places.at_home(file, place):
        if place.done:
            return FileVerdict(file, Verdict.RELABEL, file.suggested, now_at, in_its_class=True)
        return FileVerdict(file, Verdict.OPEN, file.given, now_at, in_its_class=True)
    label = places.label(place.folder) if place.folder else None
    if label is None:  # beside the class folders, or in one that can be no class
        return FileVerdict(file, Verdict.UNSURE, file.given, now_at)
    return FileVerdict(file, Verdict.RELABEL, label, now_at)


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


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Where images lie that are read as unsure, although nobody put them aside."""

    concealed: list[str]
    """Under hidden names that they were not exported under: a server or a sync program may have called so what was deleted."""
    folders: dict[str, int]
    """Folders that can be no class -> how many images lie there."""


def unreadable_places(review: Review, manifest: Manifest) -> Unreadable:
    places = Places(manifest)
    concealed, folders = [], Counter[str]()
    for v in review.verdicts:
        if v.verdict is not Verdict.UNSURE or v.now_at is None or (place := places.of(v.now_at)).special:
            continue
        if place.folder and places.label(place.folder) is None:
            folders[place.folder] += 1
        elif hidden(place.rest) and not hidden(v.file.path):
            concealed.append(v.now_at)
    return Unreadable(concealed, dict(folders))
