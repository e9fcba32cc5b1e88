"""images.json of a round, written anew from the ledger where the file was lost."""

from __future__ import annotations

import logging

from dupekit.errors import JobError
from dupekit.files.names import sort_key
from dupekit.jobs.files import RoundFile
from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import Ledger, rounds, tallies

_log = logging.getLogger(__name__)


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
        classes = sorted(set(found.labels), key=sort_key)
        number = {label: i for i, label in enumerate(classes)}
        folder.write_images(
            RoundFile(
                dataset=known.dataset,
                classes=classes,
                ids=found.ids.tolist(),
                paths=found.paths,
                digests=found.digests,
                sizes=found.sizes.tolist(),
                labels=[number[label] for label in found.labels],
            )
        )
        _log.warning("%s It was written anew from the ledger.", error.message.partition("\n")[0])
