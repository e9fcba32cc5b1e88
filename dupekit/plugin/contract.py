"""The plugin contract: what trainers, validators and executors are given, and what they give back.

A plugin is a class registered under one of the entry-point groups `dupekit.trainers`, `dupekit.validators` and
`dupekit.executors`. It names the version of this contract that it was written for, `api_version`, and its `Options`: a
frozen dataclass of which every field is an option that a user may set with `--set name=value`, with the field's
default, and `metadata={"help": ...}` as its description. A bound stands in the type, as in `Annotated[int, Ge(1)]`;
the registry checks it, and so do mypy's and the reader's eyes.

It is constructed without arguments, once a process, and kept for all jobs. Where it has a method `close()`, that is
called at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.cache import Cache
from dupekit.dataset.images import Images
from dupekit.files.json_text import read_json
from dupekit.files.regular import read_regular
from dupekit.plugin.model import Model
from dupekit.system.progress import Progress

API_VERSION = 1
"""Of this contract. A plugin that names another is refused, by name."""

TRAINERS = "dupekit.trainers"
VALIDATORS = "dupekit.validators"
EXECUTORS = "dupekit.executors"

O = TypeVar("O")  # noqa: E741 - of Options
O_contra = TypeVar("O_contra", contravariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class TrainTask(Generic[O]):
    """One training: half the images of a round, with their given labels."""

    name: str
    """Of the run, such as "p03-a"; unique in its round."""
    pool: Images
    """Every image of the round, the held-out half included: for what depends on no label and is worth computing once,
    such as features. The same, in the same order, for all runs of the round."""
    rows: NDArray[np.int64]
    """Which images of the pool to train on: positions in it, ascending, shape (n,)."""
    labels: NDArray[np.int32]
    """Their given labels: positions in `classes`, shape (n,)."""
    classes: tuple[str, ...]
    seed: int
    """For everything random in the training. It is not the split's seed."""
    device: str
    """"auto", "cpu", "cuda" or "cuda:N"."""
    workdir: Path
    """Exists, belongs to this task, and is where the model goes."""
    cache: Cache
    options: O
    """An instance of the trainer's `Options`."""
    weights: NDArray[np.float32] | None = None
    """How much each of the rows counts in the loss, shape (n,), not negative; None: all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictTask(Generic[O]):
    """One prediction: images that the model did not see in training."""

    model: Model
    pool: Images
    """As the trainer had it."""
    rows: NDArray[np.int64]
    """Which images of the pool to predict, shape (n,), in any order."""
    device: str
    cache: Cache
    options: O
    """An instance of the validator's `Options`."""


@runtime_checkable
class Trainer(Protocol[O]):
    """Makes a model from labelled images."""

    api_version: ClassVar[int]
    Options: ClassVar[type]
    produces: ClassVar[str]
    """The format of its models."""

    def train(self, task: TrainTask[O], progress: Progress, /) -> Model: ...


@runtime_checkable
class TrainsMany(Protocol[O]):
    """A trainer whose trainings share what is expensive: a worker that holds several jobs prefers this."""

    def train_many(self, tasks: Sequence[TrainTask[O]], progress: Progress, /) -> Iterator[Model]:
        """The models, in the order of the tasks, which have equal options, classes, pool, device and cache."""
        ...


@runtime_checkable
class Validator(Protocol[O]):
    """Predicts held-out images with a model."""

    api_version: ClassVar[int]
    Options: ClassVar[type]
    accepts: ClassVar[frozenset[str]]
    """The formats it can read."""

    def predict(self, task: PredictTask[O], progress: Progress, /) -> Iterator[NDArray[np.float32]]:
        """Class probabilities in the order of `task.rows`: blocks of shape (any number, classes), one after the other,
        float32, with rows that sum to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    job: Job
    error: str | None = None
    """None where result.json and predictions.npz are in its folder."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run, as an executor sees it: a folder holding job.json."""

    name: str
    folder: Path

    def outcome(self) -> Outcome | None:
        """How it ended, by its result.json, which a worker writes last; None where there is none (yet).

        Raises OSError where the folder cannot be read.
        """
        try:
            # Listing a folder makes a network file system look again; asking for one file may not.
            if RESULT not in os.listdir(self.folder):  # noqa: PTH208 - names are all that is needed
                return None
            content = read_json(read_regular(self.folder / RESULT))
            status, error = content["status"], content.get("error")
            if not isinstance(error, str | None):
                raise TypeError(f"an error {error!r}")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as problem:
            return Outcome(self, f"{self.folder / RESULT} is not valid: {problem}")
        return Outcome(self, None if status == "done" else error or f"{self.folder / RESULT} says {status!r}")


RESULT = "result.json"


@runtime_checkable
class Executor(Protocol[O_contra]):
    """Decides where jobs run. What it runs is `worker_command`. `run` may be called several times, for the parts of one training,
    before `close()`.

    A result.json that is there is final: whoever wants a run repeated takes it away first.
    """

    api_version: ClassVar[int]
    Options: ClassVar[type]

    def run(
        self, jobs: Sequence[Job], options: O_contra, progress: Progress, /
    ) -> Generator[Outcome, None, None]:
        """Yields one outcome a job, as they finish. A failed job is an outcome, not an exception.

        Closing the generator early must end what it started.
        """
        ...


def worker_command(jobs: Sequence[Job]) -> list[str]:
    """The command that does these jobs, one after the other, in one process: it leaves in each folder how that job
    ended. Exit code 0 where every run is done, 1 where one failed, 2 for wrong usage."""
    # -P: a file of the user's in the folder that this is called from must not take a library's place.
    return [sys.executable, "-P", "-m", "dupekit.jobs", *(str(job.folder.absolute()) for job in jobs)]
