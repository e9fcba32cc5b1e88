"""Ingest: what came out of a run is checked and recorded, and the votes are counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import JobError
from dupekit.jobs.files import RoundFile, finished
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import Ledger, images, rounds, tallies
from dupekit.rounds.tally import Predictions, Tally, most_probable, tally
from dupekit.system.progress import Progress


def ingest(ledger: Ledger, folder: RoundFolder, run: rounds.Run) -> bool:
    """Records a run that is done; False where its folder holds no finished run.

    Raises JobError where the folder holds what is not this run's.
    """
    place = folder.run(run.pair, run.half)
    result = finished(place)
    if result is None:
        return False
    of_round = folder.of_round
    numbers = _class_numbers(ledger, of_round)
    ids, labels = np.array(of_round.ids, np.int64), np.array(of_round.labels, np.int64)
    parts: list[tuple[NDArray[Any], ...]] = []
    with PredictionReader(place) as reader:
        for image, probabilities in reader.chunks():
            at = np.minimum(np.searchsorted(ids, image), len(ids) - 1)
            if reader.n_classes != len(numbers) or (ids[at] != image).any():
                raise JobError(
                    f"{place} holds predictions of other images or classes than this round's.",
                    hint="Delete that folder and run `dupekit train` again: only this run is repeated.",
                )
            given = labels[at]
            best = most_probable(probabilities, given)
            rows = np.arange(len(image))
            parts.append((image, numbers[best], probabilities[rows, best], probabilities[rows, given]))
    image, predicted, probability, probability_given = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    rounds.record_done(
        ledger,
        run.number,
        seconds=result.seconds_training + result.seconds_predicting,
        agreement=result.agreement,
        images=image,
        predicted=predicted,
        probability=probability.astype(np.float64),
        probability_given=probability_given.astype(np.float64),
    )
    return True


def count_votes(ledger: Ledger, folder: RoundFolder, progress: Progress) -> int:
    """Counts votes and scores over the complete pairs, where that is not done; returns how many pairs."""
    pairs = set(rounds.complete_pairs(ledger, folder.number))
    if len(pairs) == rounds.get(ledger, folder.number).tallied_pairs:
        return len(pairs)
    of_round = folder.of_round
    ids, labels = np.array(of_round.ids, np.int64), np.array(of_round.labels, np.int64)
    numbers = _class_numbers(ledger, of_round)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(PredictionReader(folder.run(run.pair, run.half)))
            for run in rounds.runs(ledger, folder.number)
            if run.pair in pairs
        ]
        parts = tally(labels, len(numbers), [_rows_of(reader, ids) for reader in readers])
        tallies.replace(
            ledger,
            folder.number,
            _shown(parts, progress, len(ids)),
            images=ids,
            given=numbers[labels],
            digests=of_round.digests,
            class_numbers=numbers,
            pairs=len(pairs),
        )
    return len(pairs)


def _shown(parts: Iterator[Tally], progress: Progress, total: int) -> Iterator[Tally]:
    for part in parts:
        progress("counting votes", part.start, total)
        yield part
    progress("counting votes", total, total)


def _class_numbers(ledger: Ledger, of_round: RoundFile) -> NDArray[np.int64]:
    """The ledger's number of each class of the round."""
    numbers = images.class_numbers(ledger)
    return np.array([numbers[name] for name in of_round.classes], np.int64)


def _rows_of(reader: PredictionReader, ids: NDArray[np.int64]) -> Predictions:
    def rows(_start: int, stop: int) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
        end = int(ids[stop]) if stop < len(ids) else int(ids[-1]) + 1
        numbers, probabilities = reader.until(end)
        return np.searchsorted(ids, numbers), probabilities

    return rows
