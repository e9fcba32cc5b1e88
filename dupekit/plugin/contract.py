"""The plugin contract: what trainers, validators and executors are given and what they give back.

A plugin is a class registered under one of the entry-point groups `dupekit.trainers`,
`dupekit.validators` and `dupekit.executors`. It is constructed without arguments, once per process, and
kept for all its jobs. Its `Options` is a frozen dataclass; every field is an option that a user may set
with `--set name=value`, with the field's default, and `metadata={"help": ...}` as its description.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.cache import Cache
from dupekit.dataset.images import Images
from dupekit.plugin.model import Model
from dupekit.system.progress import Progress

TRAINERS = "dupekit.trainers"

VALIDATORS = "dupekit.validators"

EXECUTORS = "dupekit.executors"


@dataclass(frozen=True, slots=True)
class TrainTask:
    """One training: half the images of a round, with their given labels."""

    name: str
    """Of the run, such as "p03-a"; unique in its round."""
    images: Images
    labels: NDArray[np.int32]
    """Shape (len(images),): positions in `classes`."""
    classes: tuple[str, ...]
    pool: Images
    """Every image of the round, unlabelled and including the held-out half: for what does not depend on
    labels and is worth computing once, such as features. The same, in the same order, for all its runs."""
    seed: int
    """For everything random in the training. It is not the split's seed."""
    device: str
    """"auto", "cpu", "cuda" or "cuda:N"."""
    workdir: Path
    """Exists, belongs to this task, and is where the model goes."""
    cache: Cache
    options: Any
    """An instance of the trainer's `Options`."""


@dataclass(frozen=True, slots=True)
class PredictTask:
    """One prediction: images that the model did not see in training."""

    model: Model
    images: Images
    device: str
    cache: Cache
    options: Any
    """An instance of the validator's `Options`."""


@runtime_checkable
class Trainer(Protocol):
    """Makes a model from labelled images.

    A trainer may also define `train_many(tasks, progress) -> Iterator[Model]`, models in the order of
    the tasks. A worker prefers it when it holds several jobs; all tasks then have equal options, classes
    and pool.
    """

    Options: ClassVar[type]
    produces: ClassVar[str]
    """The format of its models."""

    def train(self, task: TrainTask, progress: Progress) -> Model: ...


@runtime_checkable
class Validator(Protocol):
    """Predicts held-out images with a model."""

    Options: ClassVar[type]
    accepts: ClassVar[frozenset[str]]
    """The formats it can read."""

    def predict(self, task: PredictTask, progress: Progress) -> NDArray[np.float32]:
        """Class probabilities, shape (len(images), len(model.classes)); rows sum to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A run, as an executor sees it: a folder holding job.json."""

    name: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. Where `error` is empty, result.json and predictions.npz are in its folder."""

    job: Job
    error: str = ""


@runtime_checkable
class Executor(Protocol):
    """Decides where jobs run. What it runs is `python -m dupekit.jobs FOLDER...`.

    A result.json that is there is final: whoever wants a run repeated takes it away first."""

    Options: ClassVar[type]

    def run(self, jobs: Sequence[Job], options: Any, progress: Progress) -> Generator[Outcome, None, None]:
        """Yields one outcome per job, as they finish. A failed job is an outcome, not an exception.

        Closing the generator early must end what it started."""
        ...
