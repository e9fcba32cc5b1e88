"""images.json of a round, written anew from the ledger where the file was lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from dupekit.errors import JobError
from dupekit.files.names import sort_key
from dupekit.jobs.files import RoundFile
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.ledger import Ledger, rounds, tallies
from dupekit.ledger.database import understood
from dupekit.ledger.images import Columns
from dupekit.rounds.class_view import ClassView, folders, trained_as

_log = logging.getLogger(__name__)


def round_file(dataset: str, classes: Iterable[str], columns: Columns, view: ClassView | None) -> RoundFile:
    """The images of the dataset that are of these classes, as the view sees them."""
    classes = sorted(classes, key=sort_key)
    number = {label: i for i, label in enumerate(classes)}
    trained = {label: trained_as(view, label) for label in set(columns.labels)}
    of_label = {label: None if name is None else number.get(name) for label, name in trained.items()}
    labels = [of_label[label] for label in columns.labels]
    rows = [row for row, label in enumerate(labels) if label is not None]
    return RoundFile(
        dataset=dataset,
        classes=classes,
        folders=folders(view, classes, (columns.labels[row] for row in rows)) if view else None,
        ids=columns.ids[rows].tolist(),
        paths=[columns.paths[row] for row in rows],
        digests=[columns.digests[row] for row in rows],
        sizes=columns.sizes[rows].tolist(),
        labels=[label for label in labels if label is not None],
    )


def ensure_images(ledger: Ledger, folder: RoundFolder) -> None:
    """Sees to it that a round's images can be read.

    The ledger knows them once votes were counted. Raises JobError where they are lost before that.
    """
    try:
        _ = folder.of_round
    except JobError as error:
        found = tallies.images_of(ledger, folder.number)
        known = rounds.get(ledger, folder.number)
        if found is None or len(found.ids) != known.images:
            raise JobError(
                error.message,
                hint="Restore it from a backup; the ledger does not know the images of this round yet. Or end the round"
                " with `dupekit next`: its predictions are then lost, and what was decided before stays.",
            ) from None
        view = rounds.view_of(known)
        imported = understood(Plan.model_validate, known.plan).imported
        own = {name for label in set(found.labels) if (name := trained_as(view, label))}
        folder.write_images(round_file(known.dataset, imported.classes if imported else own, found, view))
        _log.warning("%s It was written anew from the ledger.", error.message.partition("\n")[0])
