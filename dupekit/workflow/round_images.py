"""The images of a round, and their file, written anew from the ledger where it was lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from dupekit.errors import JobError
from dupekit.files.names import sort_key
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.jobs.images import RoundImages
from dupekit.ledger import Ledger, rounds, tallies
from dupekit.ledger.database import understood
from dupekit.ledger.images import Columns
from dupekit.rounds.class_view import ClassView, folders, trained_as

_log = logging.getLogger(__name__)


def round_images(
    dataset: str, classes: Iterable[str], columns: Columns, view: ClassView | None, *, movable: bool
) -> RoundImages:
    """The images of the dataset that are of these classes, as the view sees them; `movable` as in RoundImages."""
    classes = sorted(classes, key=sort_key)
    number = {label: i for i, label in enumerate(classes)}
    trained = [number.get(trained_as(view, label) or "", -1) for label in columns.classes]
    labels = np.array(trained, np.int32)[columns.labels]
    rows = np.flatnonzero(labels >= 0)
    own = columns.labels[rows].tolist()
    return RoundImages(
        dataset=dataset,
        movable=movable,
        classes=classes,
        folders=folders(view, classes, (columns.classes[label] for label in own)) if view else None,
        ids=columns.ids[rows],
        paths=columns.paths.take(rows),
        digests=columns.digests.take(rows),
        sizes=columns.sizes[rows],
        labels=labels[rows],
    )


def known_images(ledger: Ledger, number: int) -> RoundImages | None:
    """The images of a round as the ledger knows them, without near-duplicates; None before votes were counted."""
    found, known = tallies.images_of(ledger, number), rounds.get(ledger, number)
    if found is None or len(found.ids) != known.images:
        return None
    view = rounds.view_of(known)
    imported = understood(Plan.model_validate, known.plan).imported
    there = (found.classes[label] for label in np.unique(found.labels).tolist())
    own = {name for label in there if (name := trained_as(view, label))}
    classes = imported.classes if imported else own
    return round_images(known.dataset, classes, found, view, movable=known.movable)


def ensure_images(ledger: Ledger, folder: RoundFolder) -> None:
    """Sees to it that a round's images can be read, and are as many as the ledger says.

    The ledger knows them once votes were counted. Raises JobError where they are lost before that.
    """
    try:
        _require_as_many(folder, rounds.get(ledger, folder.number).images)
    except JobError as error:
        known = known_images(ledger, folder.number)
        if known is None:
            raise JobError(
                error.message,
                hint="Restore it from a backup; the ledger does not know the images of this round yet. Or end the round"
                " with `dupekit next`: its predictions are then lost, and what was decided before stays.",
            ) from None
        folder.write_images(known)
        why = error.message.partition("\n")[0].removesuffix(".")
        _log.warning("%s. It was written anew from the ledger.", why)


def _require_as_many(folder: RoundFolder, count: int) -> None:
    if len(folder.of_round) != count:
        raise JobError(
            f"{folder.images_file} is of another round: it has {len(folder.of_round)} images, not {count}."
        )
