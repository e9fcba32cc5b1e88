"""Reference sheets: typical images of each class of the last round, and the classes that it is usually confused with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dupekit.files.names import sort_key
from dupekit.ledger import images, predictions
from dupekit.pictures import sheets as page
from dupekit.pictures.gallery import Gallery
from dupekit.pictures.sheets import Look, Sheet
from dupekit.review.manifest import Manifest
from dupekit.rounds.confusion import confusion
from dupekit.system.progress import Progress, stage
from dupekit.workflow.last_round import dataset_of, last_round
from dupekit.workflow.page_place import page_place, refuse_without_pictures, write_page
from dupekit.workflow.references import References, references
from dupekit.workflow.session import Session

TYPICAL, LOOKS, BESIDE = 12, 4, 4
"""Typical images a class; classes that it is confused with; and typical images of each of these."""
LEAST = 0.01
"""Share of a class's predictions from which it is confused with another."""
SHORT_BYTES = 2_500_000
"""Of the sheets in a review tree's own page."""
SHORT_LOOKS = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SheetsWritten:
    """Reference sheets that were written."""

    file: Path
    round: int
    classes: int
    without_images: int
    """Classes of which no image can stand for them."""
    unreadable: int
    """Images that could not be shown, and are left out."""
    size_bytes: int


def class_sheets(session: Session, out: Path | None, *, progress: Progress) -> SheetsWritten:
    """Writes the sheets, default rounds/NN/classes.html; reads only, so that it may be made while a training goes on.

    Raises as `report`.
    """
    with last_round(session, progress) as current:
        file = page_place(session, out, default=session.folder(current.number).path / "classes.html")
        with stage(progress, "reading the ledger"):
            found = references(session, current.number)
            made = _sheets(session, current.number, found, None, looks=LOOKS)
        gallery = Gallery(dataset_of(session, current), session.settings.max_pixels)
    title = f"{session.root.name}: classes of round {current.number}"

    def write(out: BinaryIO) -> int:
        unreadable = page.write_sheets(out, made, gallery, title=title, progress=progress)
        pictures = len({one.path for sheet in made for one in sheet.references()})
        refuse_without_pictures(gallery.dataset, pictures=pictures, unreadable=unreadable)
        return unreadable

    unreadable = write_page(file, write)
    without = sum(not sheet.typical for sheet in made)
    return SheetsWritten(file, current.number, len(made), without, unreadable, file.stat().st_size)


def tree_sheets(session: Session, manifest: Manifest) -> str:
    """The sheets in short, of the classes that occur in a tree: a piece of HTML for its page; "" where anything is in the way,
    for a tree does without. Nothing of the tree stands in it."""
    try:
        inside = images.numbers(session.ledger, [file.original for file in manifest.files])
        found = references(session, manifest.round, without=list(inside.values()))
        labels = dict.fromkeys(label for file in manifest.files for label in (file.given, file.suggested))
        made = _sheets(session, manifest.round, found, labels, looks=SHORT_LOOKS)
        gallery = Gallery(session.dataset, session.settings.max_pixels)
        return page.section(made, gallery, limit_bytes=SHORT_BYTES)
    except Exception as error:  # whatever it is
        _log.warning("The review tree's page shows no images of the classes: %s", error)
        return ""


def _sheets(
    session: Session, number: int, found: References, labels: Iterable[str] | None, *, looks: int
) -> list[Sheet]:
    """Of these classes, else of all in the round, by name."""
    cells = predictions.confused(session.ledger, number)
    names = sorted({one.given for one in cells} | {one.predicted for one in cells}, key=sort_key)
    taken = confusion(names, cells)
    shares = {(one.given, one.predicted): one.predictions for one in cells}
    totals = {label: max(int(taken.counts[i].sum()), 1) for i, label in enumerate(names)}
    sizes = Counter(found.standings.given)

    def look(label: str, other: str) -> Look:
        return Look(other, shares[label, other] / totals[label], found.typical(other, BESIDE))

    return [
        Sheet(
            label=label,
            images=sizes[label],
            typical=found.typical(label, TYPICAL),
            confused=[look(label, other) for other in taken.usual(label, looks, least=LEAST)],
        )
        for label in sorted(names if labels is None else labels, key=sort_key)
    ]
