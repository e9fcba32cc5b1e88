"""Ignore: the list of confirmed images, edited by hand or from a CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dupekit.errors import UsageError
from dupekit.ledger import Ledger, ignores, images
from dupekit.ledger.images import KnownImage
from dupekit.review.ignore_list import Ignored, from_csv
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did to the ignore list."""

    added: int
    known: int
    """Were on the list already."""
    unknown_labels: dict[str, int]
    """Label that is no class of this dataset -> its entries, which are on the list all the same."""


def add(session: Session, paths: Sequence[str]) -> int:
    """Adds images by their escaped paths in the dataset; returns how many were new on the list."""
    ledger = session.ledger
    found = _found(ledger, paths)
    for image in found:
        if image.problem:
            raise UsageError(
                f"{image.path} cannot go on the ignore list: {image.problem}.",
                hint="Nothing was added. Mend the file, run `dupekit scan`, and try again.",
            )
    return ignores.add(ledger, map(_entry, found))


def remove(session: Session, paths: Sequence[str]) -> int:
    """Takes images off the list again; returns how many were on it."""
    return ignores.remove(session.ledger, map(_entry, _found(session.ledger, paths)))


def import_csv(session: Session, content: bytes, name: str) -> Imported:
    """Adds all of a CSV, or, with a UsageError, nothing of it. `name` is for messages."""
    ledger = session.ledger
    entries = from_csv(content, name)
    classes = set(images.class_names(ledger))
    unknown = Counter(entry.label for entry in entries if entry.label not in classes)
    added = ignores.add(ledger, entries)
    return Imported(added, len(entries) - added, dict(unknown))


def _found(ledger: Ledger, paths: Sequence[str]) -> list[KnownImage]:
    found = []
    for path in paths:
        image = images.find(ledger, path)
        if image is None:
            raise UsageError(
                f"The dataset has no image {path}.",
                hint="Give paths as `dupekit flag` prints them, relative to the dataset.",
            )
        found.append(image)
    return found


def _entry(image: KnownImage) -> Ignored:
    return Ignored(image.digest, image.label, image.path, "")
