"""rounds/NN of a project: writes its jobs, and takes up and counts what came out of them."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from dupekit.errors import JobError
from dupekit.files.write import atomic_write
from dupekit.jobs.files import JOB, Choice, JobFile, RoundFile, finished, read_model, write_model
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import Ledger, images, rounds, tallies
from dupekit.plugin.contract import RESULT, Job
from dupekit.rounds.split import seed_for, split
from dupekit.rounds.tally import Predictions, most_probable, tally
from dupekit.settings import Settings
from dupekit.system.progress import Progress
from dupekit.system.stamp import now

_SPLIT, _TRAINING = 0, 1  # what a seed is drawn for


class Plan(BaseModel):
    """What is fixed for a whole round; the ledger keeps it as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trainer: Choice
    validator: Choice
    seed: int
    split: Literal["redraw", "fixed"]
    class_min: int


class RoundFolder:
    """rounds/NN of a project: writes its jobs, runs what is missing, and records what came out."""

    def __init__(self, project: Path, number: int) -> None:
        self.path = project / "rounds" / f"{number:02d}"
        self.number = number
        self._of_round: RoundFile | None = None

    @property
    def of_round(self) -> RoundFile:
        """The round's images. Read once."""
        if self._of_round is None:
            self._of_round = read_model(self.path / "images.json", RoundFile)
        return self._of_round

    def create(self, of_round: RoundFile) -> None:
        """Begins the folder. What a project that is no more left under its name is moved aside."""
        if self.path.exists():
            stamp = now().replace(":", "")
            self.path.rename(self.path.with_name(f"{self.path.name}.old-{stamp}-{uuid.uuid4().hex[:4]}"))
        self.path.mkdir(parents=True)
        write_model(self.path / "images.json", of_round)
        self._of_round = of_round

    def job_folder(self, run: rounds.Run) -> Path:
        return self.path / "runs" / run.name

    def prepare(self, run: rounds.Run, plan: Plan, settings: Settings, *, keep_models: bool) -> Job:
        """Writes the run's job folder and its pair's split; an earlier failure is cleared away."""
        folder = self.job_folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT).unlink(missing_ok=True)
        self._write_split(run.pair, plan)
        job = JobFile(
            name=run.name,
            round=self.number,
            pair=run.pair,
            half="a" if run.half == "a" else "b",
            images="../../images.json",
            split=f"../../splits/p{run.pair:02d}.npy",
            cache="../../../../cache",
            seed=seed_for(plan.seed, self.number, _TRAINING, run.pair, ord(run.half)),
            device=settings.device,
            trainer=plan.trainer,
            validator=plan.validator,
            max_pixels=settings.max_pixels,
            keep_model=keep_models,
        )
        write_model(folder / JOB, job)
        return Job(run.name, folder)

    def ingest(self, ledger: Ledger, run: rounds.Run) -> bool:
        """Records a run that is done; False where its folder holds no finished run."""
        folder = self.job_folder(run)
        result = finished(folder)
        if result is None:
            return False
        numbers = _class_numbers(ledger, self.of_round)
        ids = np.array(self.of_round.ids, np.int64)
        labels = np.array(self.of_round.labels, np.int64)
        parts: list[tuple[NDArray[Any], ...]] = []
        with PredictionReader(folder) as reader:
            for image, probabilities in reader.chunks():
                if reader.n_classes != len(numbers) or not np.isin(image, ids).all():
                    raise JobError(
                        f"{folder} holds predictions of other images or classes than this round's.",
                        hint="Delete that folder and run `dupekit train` again: only this run is repeated.",
                    )
                given = labels[np.searchsorted(ids, image)]
                best = most_probable(probabilities, given)
                rows = np.arange(len(image))
                parts.append((image, numbers[best], probabilities[rows, best], probabilities[rows, given]))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        rounds.record_done(
            ledger,
            run.number,
            seconds=result.seconds_training + result.seconds_predicting,
            agreement=result.agreement,
            images=columns[0],
            predicted=columns[1],
            probability=columns[2].astype(np.float64),
            probability_given=columns[3].astype(np.float64),
        )
        return True

    def update_tallies(self, ledger: Ledger, progress: Progress) -> int:
        """Counts votes and scores over the complete pairs, where that is not done; returns how many."""
        pairs = set(rounds.complete_pairs(ledger, self.number))
        if len(pairs) == rounds.get(ledger, self.number).tallied_pairs:
            return len(pairs)
        ids = np.array(self.of_round.ids, np.int64)
        labels = np.array(self.of_round.labels, np.int64)
        numbers = _class_numbers(ledger, self.of_round)
        with ExitStack() as stack:
            readers = [
                stack.enter_context(PredictionReader(self.job_folder(run)))
                for run in rounds.runs(ledger, self.number)
                if run.pair in pairs
            ]
            parts = tally(labels, len(numbers), [_rows_of(reader, ids) for reader in readers])
            tallies.replace(
                ledger,
                self.number,
                (_shown(part, progress, len(ids)) for part in parts),
                images=ids,
                given=numbers[labels],
                digests=self.of_round.digests,
                class_numbers=numbers,
                pairs=len(pairs),
            )
        progress("counting votes", len(ids), len(ids))
        return len(pairs)

    def _write_split(self, pair: int, plan: Plan) -> None:
        file = self.path / "splits" / f"p{pair:02d}.npy"
        if file.is_file():
            return
        file.parent.mkdir(exist_ok=True)
        drawn_for = pair if plan.split == "redraw" else 1
        halves = split(
            np.array(self.of_round.labels, np.int64),
            self.of_round.digests,
            seed=seed_for(plan.seed, self.number, _SPLIT, drawn_for),
        )
        with atomic_write(file) as out:
            np.save(out, halves)


def _shown(part: Any, progress: Progress, total: int) -> Any:
    progress("counting votes", part.start, total)
    return part


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
