"""Weights: how far the second stage of a round trusts each label, from what the first stage says of it."""

from __future__ import annotations

import numpy as np

from dupekit.jobs.files import Half
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.jobs.predictions import finished
from dupekit.ledger import Ledger, rounds
from dupekit.rounds.stages import weights
from dupekit.rounds.tally import tally
from dupekit.system.progress import Progress
from dupekit.workflow.ingest import readings, shown


def ensure_weights(ledger: Ledger, folder: RoundFolder, plan: Plan, progress: Progress) -> bool:
    """Sees to it that the second stage's weights are there: False while the first stage is not complete.

    All its pairs have a say: so the weights follow from the plan, and not from which runs failed that day. They are written
    once, and anew only where the file is lost or damaged. Raises JobError where predictions cannot be read.
    """
    pairs = range(1, (plan.first_stage or 0) + 1)
    complete = rounds.complete_pairs(ledger, folder.number)
    if not set(complete).issuperset(pairs):
        return False
    if not all(finished(folder.run(pair, half)) for pair in pairs for half in Half):
        return False
    if not folder.has_weights():
        of_round = folder.of_round
        with readings(folder, pairs, of_round.ids) as runs:
            parts = tally(of_round.labels, len(of_round.classes), runs)
            scores = [part.score for part in shown(parts, progress, "weighing the labels", len(of_round))]
        folder.write_weights(weights(np.concatenate(scores)))
    return True
