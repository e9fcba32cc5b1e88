"""Ingest: what came out of a run is checked and recorded, and the votes are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import JobError
from dupekit.jobs.files import Half, read_result
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.images import RoundImages
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import Ledger, images, predictions, rounds, tallies
from dupekit.ledger.predictions import RunPredictions
from dupekit.rounds.tally import Predictions, Tally, are_probabilities, contradictions, most_probable, tally
from dupekit.system.progress import Progress
from dupekit.workflow.round_images import ensure_images


def ingest(ledger: Ledger, folder: RoundFolder, run: rounds.Run) -> bool:
    """Records a run that is done; False where its folder holds no finished run.

    Raises JobError where the folder holds what is not this run's, or no probabilities.
    """
    place = folder.run(run.pair, run.half)
    result = read_result(place)
    if result is None:
        return False
    of_round = folder.of_round
    numbers = _ClassNumbers.of(ledger, of_round)
    labels = of_round.labels
    rows = folder.held_out(run.pair, run.half)
    parts: list[tuple[NDArray[Any], ...]] = []
    done = 0
    with PredictionReader(place) as reader:
        _check_images(reader, of_round.ids[rows], len(of_round.classes))
        for _, probabilities in reader.chunks():
            _check_probabilities(reader, probabilities)
            some = rows[done : done + len(probabilities)]
            given, at = labels[some], np.arange(len(some))
            best = most_probable(probabilities, given)
            # What agrees names the image's own class, whichever its trained class means for others.
            predicted = np.where(best == given, numbers.given[some], numbers.meant[best])
            parts.append((predicted, probabilities[at, best], probabilities[at, given]))
            done += len(some)
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        found = RunPredictions(reader.images, *columns)
    seconds = result.seconds_training + result.seconds_predicting
    predictions.record(ledger, run.number, found, seconds=seconds, agreement=result.agreement)
    return True


def _check_images(reader: PredictionReader, expected: NDArray[np.int64], n_classes: int) -> None:
    """Raises JobError where the predictions are not of exactly these images, or of another number of classes."""
    if reader.n_classes != n_classes:
        raise JobError(f"{reader.path} holds {reader.n_classes} classes, and the round has {n_classes}.")
    if not np.array_equal(reader.images, expected):
        missing, extra = (
            len(np.setdiff1d(expected, reader.images)),
            len(np.setdiff1d(reader.images, expected)),
        )
        raise JobError(
            f"{reader.path} does not hold the {len(expected)} images that this run predicts: {missing} are missing,"
            f" {extra} are others."
        )


def _check_probabilities(reader: PredictionReader, probabilities: NDArray[np.floating]) -> None:
    if not are_probabilities(probabilities).all():
        raise JobError(
            f"{reader.path} holds what are not probabilities: negative, not finite, or not summing to 1."
        )


def count_votes(ledger: Ledger, folder: RoundFolder, progress: Progress, *, anew: bool = False) -> int:
    """Counts votes and scores over the complete pairs, where that is not done, or `anew`; returns how many pairs."""
    pairs = set(rounds.complete_pairs(ledger, folder.number))
    if len(pairs) == rounds.get(ledger, folder.number).tallied_pairs and not anew:
        return len(pairs)
    ensure_images(ledger, folder)
    of_round = folder.of_round
    ids, labels = of_round.ids, of_round.labels
    numbers = _ClassNumbers.of(ledger, of_round)
    halves = _halves(ledger, folder.number)
    contradicting = contradictions(labels, of_round.contents)
    others = np.where(contradicting >= 0, labels[contradicting], -1)
    with readings(folder, sorted(pairs), ids, halves=halves) as runs:
        parts = tally(labels, len(of_round.classes), runs, last=len(halves), others=others)
        tallies.replace(
            ledger,
            folder.number,
            shown(parts, progress, "counting votes", len(ids)),
            images=ids,
            given=numbers.given,
            contradicting=contradicting,
            digests=of_round.digests,
            class_numbers=numbers.meant,
            pairs=len(pairs),
        )
    return len(pairs)


@contextmanager
def counted_runs(ledger: Ledger, folder: RoundFolder) -> Iterator[list[Predictions]]:
    """What the runs say whose votes count, those of complete pairs."""
    pairs, ids = rounds.complete_pairs(ledger, folder.number), folder.of_round.ids
    with readings(folder, pairs, ids, halves=_halves(ledger, folder.number)) as runs:
        yield runs


@contextmanager
def readings(
    folder: RoundFolder, pairs: Iterable[int], ids: NDArray[np.int64], *, halves: Sequence[Half] = tuple(Half)
) -> Iterator[list[Predictions]]:
    """What the runs of each pair say of the round's images, pair by pair, to be tallied once. Raises JobError where a
    file cannot be read."""
    with ExitStack() as stack:
        readers = [
            stack.enter_context(PredictionReader(folder.run(pair, half))) for pair in pairs for half in halves
        ]
        yield [_rows_of(reader, ids) for reader in readers]


def _halves(ledger: Ledger, round_number: int) -> list[Half]:
    """The runs of each pair: both, or the only one of a round that was imported."""
    return sorted({run.half for run in rounds.runs(ledger, round_number)})


def shown(parts: Iterator[Tally], progress: Progress, what: str, total: int) -> Iterator[Tally]:
    for part in parts:
        progress(what, part.start, total)
        yield part
    progress(what, total, total)


@dataclass(frozen=True, slots=True, eq=False)
class _ClassNumbers:
    """The ledger's numbers of the dataset's own classes."""

    meant: NDArray[np.int64]
    """Of each class of the round, what is meant where a model names it."""
    given: NDArray[np.int64]
    """Of each image of the round."""

    @classmethod
    def of(cls, ledger: Ledger, of_round: RoundImages) -> _ClassNumbers:
        numbers = images.class_numbers(ledger)
        meant = np.array([numbers[name] for name in of_round.meant], np.int64)
        if of_round.folders is None:
            return cls(meant, meant[of_round.labels])
        return cls(meant, np.array([numbers[label] for label in of_round.given], np.int64))


def _rows_of(reader: PredictionReader, ids: NDArray[np.int64]) -> Predictions:
    def rows(_start: int, stop: int) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
        end = int(ids[stop]) if stop < len(ids) else int(ids[-1]) + 1
        numbers, probabilities = reader.until(end)
        return np.searchsorted(ids, numbers), probabilities

    return rows
