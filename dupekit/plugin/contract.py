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
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.cache import Cache
from dupekit.dataset.images import Images
from dupekit.files.json_text import parse_json
from dupekit.files.regular import read_regular
from dupekit.files.write import write_text
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
class Prepares(Protocol[O]):
    """A trainer part of whose work is the same for all runs of a round and needs no GPU, such as decoding: an executor may have
    it done first, on a machine without one."""

    def prepare(self, task: TrainTask[O], progress: Progress, /) -> None:
        """Fills `task.cache` with what the trainings will read. `task.device` is theirs, and may not be there."""
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


class JobState(StrEnum):
    """How far a job is, as its folder says."""

    WAITING = "waiting"
    """No worker has come to it yet."""
    AT_WORK = "at work"
    """A worker has begun it, and nobody has said that it ended; a machine that fails says nothing."""
    CUT_OFF = "cut off"
    """Its worker has ended, and it has not."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A run, as an executor sees it: a folder holding job.json."""

    name: str
    folder: Path
    prepares: bool = field(default=False, compare=False)
    """Whether its trainer can do a part first that needs no GPU: `prepare_command`. A job is the same without it."""

    def outcome(self) -> Outcome | None:
        """How it ended, by its result.json, which a worker writes last; None where there is none (yet), or one that says
        "done" of predictions that are not there: what is left of an earlier worker's.

        Raises OSError where the folder cannot be read.
        """
        try:
            # Listing a folder makes a network file system look again; asking for one file may not.
            names = os.listdir(self.folder)  # noqa: PTH208 - names are all that is needed
            if RESULT not in names:
                return None
            content = parse_json(read_regular(self.folder / RESULT))
            status, error = content["status"], content.get("error")
            if not isinstance(error, str | None):
                raise TypeError(f"an error {error!r}")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as problem:
            return Outcome(self, f"{self.folder / RESULT} is not valid: {problem}")
        if status == "done" and PREDICTIONS not in names:
            return None
        return Outcome(self, None if status == "done" else error or f"{self.folder / RESULT} says {status!r}")

    def state(self) -> JobState:
        """Raises as `outcome`."""
        if outcome := self.outcome():
            return JobState.FAILED if outcome.error else JobState.DONE
        try:
            return JobState(read_regular(self.folder / STATE).decode())
        except FileNotFoundError:
            return JobState.WAITING
        except ValueError:  # damaged
            return JobState.CUT_OFF

    def note(self, state: JobState | None) -> None:
        """Says in the folder how far it is; None: that no worker is at it. A worker says so that begins it or ends, and whoever
        sees a worker end before its time, or submits the job anew."""
        if state is None:
            (self.folder / STATE).unlink(missing_ok=True)
        else:
            write_text(self.folder / STATE, state)


RESULT = "result.json"
PREDICTIONS = "predictions.npz"
STATE = "state.txt"
PREPARE = "--prepare"
"""What a worker is told that does no run, but what comes before all of them."""


@runtime_checkable
class Executor(Protocol[O_contra]):
    """Decides where jobs run. What it runs is `worker_command`. `run` may be called several times, for the parts of one training,
    before `close()`.

    An outcome that is there is final: whoever wants a run repeated takes its result.json away first.
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


@runtime_checkable
class Detaches(Protocol[O_contra]):
    """An executor whose jobs go on without the process that submitted them, and that a later process finds again."""

    def submit(self, jobs: Sequence[Job], options: O_contra, progress: Progress, /) -> None:
        """Sees to it that each of these jobs is queued or at work, once: what an earlier process has submitted with equal options
        is left alone, what was submitted with others is ended first.

        `run` of them, in this process or another, then waits for them. Closing it, or an error in it, ends none of them."""
        ...

    def cancel(self, jobs: Sequence[Job], /) -> None:
        """Ends what is queued or at work of these jobs, whoever has submitted it. Returns when it has ended: another executor may
        be given their folders then."""
        ...


@runtime_checkable
class Previews(Protocol[O_contra]):
    """An executor that can show what it would do."""

    def dry_run(self, jobs: Sequence[Job], options: O_contra, /) -> str:
        """What it would submit, in the words of whatever it submits to. Nothing is done: the jobs' folders need not exist."""
        ...


def worker_command(jobs: Sequence[Job]) -> list[str]:
    """The command that does these jobs, one after the other, in one process: it leaves in each folder how that job
    ended. Exit code 0 where every run is done, 1 where one failed, 2 for wrong usage."""
    # -P: a file of the user's in the folder that this is called from must not take a library's place.
    return [sys.executable, "-P", "-m", "dupekit.jobs", *(str(job.folder.absolute()) for job in jobs)]


def prepare_command(job: Job) -> list[str]:
    """The command that does what `Prepares` means, for all jobs of this one's round. Exit code 0 where that is done."""
    return [sys.executable, "-P", "-m", "dupekit.jobs", PREPARE, str(job.folder.absolute())]
