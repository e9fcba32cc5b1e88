"""rounds/NN/evaluation of a project: trainings on a dataset before and after its correction, as job folders.

    rounds/01/evaluation/1a2b3c4d/before.npz, after.npz     the images and labels of each, test images included
                              .../runs/before-01/           job.json and what comes out, as of a round's run
                              .../runs/before-01/split.npy  bool, True for the images that test this training
                              .../evaluation.json           what was found

The folder's name follows from what is trained and tested: the same evaluation goes on where it was cut off. The trainings
are none of the round's runs, and the ledger knows nothing of them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dupekit.errors import JobError
from dupekit.files.write import atomic_write, clear_partials
from dupekit.jobs.files import (
    JOB,
    Choice,
    Half,
    JobFile,
    read_model,
    read_result,
    write_model,
)
from dupekit.jobs.images import RoundImages, write_images
from dupekit.jobs.predictions import PredictionReader
from dupekit.plugin.contract import RESULT, Job
from dupekit.rounds.comparison import Compared, Measure
from dupekit.rounds.split import seed_for

EVALUATION = "evaluation.json"

_TRAINING = 2  # what a seed is drawn for; 0 and 1 are a round's

_log = logging.getLogger(__name__)


class Arm(StrEnum):
    """On which labels a model was trained."""

    BEFORE = "before"
    AFTER = "after"


class ClassFigures(BaseModel):
    """One class in an evaluation. Shares are None where no test image is of the class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    tested: int = Field(description="Test images of this class.")
    images_before: int = Field(description="Images of the class that can be trained on.")
    images_after: int
    recall_before: float | None = Field(
        description="Share of the class's test images that are predicted right."
    )
    recall_after: float | None
    f1_before: float | None
    f1_after: float | None

    @property
    def moved(self) -> float:
        """By how much the recall changed."""
        return (self.recall_after or 0) - (self.recall_before or 0)


class LeftOut(BaseModel):
    """A file of the test folder that tests nothing, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="Relative to the test folder, escaped.")
    reason: str


class Evaluation(BaseModel):
    """evaluation.json: models trained before and after a correction, compared on the same test images."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: Literal["dupekit/evaluation/1"] = Field("dupekit/evaluation/1", alias="schema")
    round: int
    application: int = Field(description="Number of the correction in the ledger.")
    made: str = Field(description="UTC, ISO 8601.")
    original: str = Field(description="The dataset's folder: absolute, escaped.")
    corrected: str = Field(description="The corrected dataset's: absolute, escaped.")
    trainer: Choice
    validator: Choice
    seeds: int = Field(description="Trainings before, and as many after, with the same seeds.")
    test: str | None = Field(
        description="The folder of the test images: absolute, escaped; null: images of the dataset whose label nobody disputed,"
        " a fifth of them kept out of each training and tested with it."
    )
    tested: int = Field(description="Test images.")
    images_before: int = Field(description="Images that can be trained on.")
    images_after: int
    kept_out: int = Field(
        description="Images of the dataset that no training sees, for they are in the test folder, or like one there."
    )
    relabelled: int = Field(
        description="Images with another label after than before, of those that can be trained on."
    )
    expunged: int = Field(description="Images that are trained on before, and not after.")
    measures: dict[Measure, Compared]
    classes: list[ClassFigures] = Field(description="Those that moved most, by their recall, first.")
    left_out: list[LeftOut]
    warnings: list[str] = Field(description="Where the comparison is unfair, or shows little.")


class EvaluationPlan(BaseModel):
    """How all of an evaluation are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int
    trainer: Choice
    validator: Choice
    seed: int
    class_max: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What an evaluation trains and tests. Both arms have the test images under the same numbers."""

    plan: EvaluationPlan
    images: dict[Arm, RoundImages]
    held_out: Callable[[int], NDArray[np.int64]]
    """The numbers of the images that test the trainings of a seed, ascending; copies of them included."""
    tested: NDArray[np.int64]
    """The numbers of the images that count, ascending."""
    truth: NDArray[np.int64]
    """Their classes."""

    @property
    def classes(self) -> list[str]:
        """Of both arms."""
        return self.images[Arm.BEFORE].classes

    @property
    def key(self) -> str:
        """Another one for whatever else is trained or tested, but for the number of seeds."""
        key = hashlib.sha256(self.plan.model_dump_json().encode())
        for images in self.images.values():
            for array in images.arrays("" if images.movable else images.dataset).values():
                key.update(array.tobytes())
        for numbers in (self.held_out(1), self.tested):
            key.update(numbers.tobytes())
        return key.hexdigest()[:8]


class EvaluationFolder:
    """The folder of one evaluation. Knows no ledger."""

    def __init__(self, round_folder: Path, trial: Trial) -> None:
        self.path = round_folder / "evaluation" / trial.key
        self._trial = trial

    def create(self) -> None:
        """Makes the folder and what all trainings share."""
        (self.path / "runs").mkdir(parents=True, exist_ok=True)
        clear_partials(self.path)
        for arm in Arm:
            write_images(self.path / f"{arm}.npz", self._trial.images[arm])

    def run(self, arm: Arm, seed: int) -> Path:
        """The job folder of a training; seeds count from 1."""
        return self.path / "runs" / f"{arm}-{seed:02d}"

    def prepare(self, arm: Arm, seed: int, *, device: str, max_pixels: int) -> Job:
        """Writes a job folder; an earlier failure is cleared away."""
        folder, trial = self.run(arm, seed), self._trial
        folder.mkdir(exist_ok=True)
        (folder / RESULT).unlink(missing_ok=True)
        clear_partials(folder)
        with atomic_write(folder / "split.npy") as out:
            np.save(out, np.isin(trial.images[arm].ids, trial.held_out(seed)))
        job = JobFile(
            name=folder.name,
            round=trial.plan.round,
            pair=seed,
            half=Half.A,  # trains on what the split does not mark, and predicts the rest
            images=f"../../{arm}.npz",
            split="split.npy",
            cache="../../../../../../cache",
            seed=seed_for(trial.plan.seed, trial.plan.round, _TRAINING, seed),  # both arms the same
            device=device,
            trainer=trial.plan.trainer,
            validator=trial.plan.validator,
            max_pixels=max_pixels,
            keep_model=False,
            class_max=trial.plan.class_max,
        )
        write_model(folder / JOB, job, by_way_of=self.path)  # as RoundFolder does
        return Job(folder.name, folder)

    def predicted(self, arm: Arm, seed: int) -> NDArray[np.int32] | None:
        """The class that a training predicts of each of its held-out images, shape (held out,); None where it is not done.

        Raises JobError where the folder holds what is not this training's.
        """
        folder, trial = self.run(arm, seed), self._trial
        if read_result(folder) is None:
            return None
        with PredictionReader(folder) as reader:
            expected = trial.held_out(seed)
            if reader.n_classes != len(trial.classes) or not np.array_equal(reader.images, expected):
                raise JobError(
                    f"{reader.path} does not hold the predictions of its {len(expected)} test images."
                )
            parts = [probabilities.argmax(axis=1).astype(np.int32) for _, probabilities in reader.chunks()]
        return np.concatenate(parts)


def evaluations(round_folder: Path) -> list[Evaluation]:
    """What was found in a round; the last one last. What cannot be read is passed over, with a word in the log."""
    found = []
    for file in sorted(round_folder.glob(f"evaluation/*/{EVALUATION}")):
        try:
            found.append(read_model(file, Evaluation))
        except JobError as error:
            _log.warning("%s", error.message)
    return sorted(found, key=lambda one: one.made)
