"""The plugin contract: what trainers, validators and executors are given and what they give back.

A plugin is a class registered under one of the entry-point groups `dupekit.trainers`,
`dupekit.validators` and `dupekit.executors`. It is constructed without arguments, once per process, and
kept for all its jobs. Its `Options` is a frozen dataclass; every field is an option that a user may set
with `--set name=value`, with the field's default, and `metadata={"help": ...}` as its description.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dupekit.errors import PluginError
from dupekit.files import real_path

if TYPE_CHECKING:
    from dupekit.cache import Cache

TRAINERS = "dupekit.trainers"
VALIDATORS = "dupekit.validators"
EXECUTORS = "dupekit.executors"


@dataclass(frozen=True, slots=True)
class Image:
    """One readable image of the dataset."""

    file: Path
    """Where it lies."""
    digest: str
    """SHA-256 of the file's content, 64 hexadecimal digits."""
    width: int
    """Pixels, after the EXIF orientation is applied."""
    height: int


@dataclass(frozen=True, slots=True)
class Images(Sequence[Image]):
    """Many images, held as columns; `images[i]` is an `Image`, `images[a:b]` and `take` are `Images`."""

    root: Path
    """The dataset's folder."""
    paths: Sequence[str]
    """Relative to `root`, escaped as in `dupekit.files`."""
    digests: Sequence[str]
    sizes: NDArray[np.int32]
    """Shape (n, 2): width and height in pixels."""

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index: int | slice) -> Image | Images:
        if isinstance(index, slice):
            return Images(self.root, self.paths[index], self.digests[index], self.sizes[index])
        width, height = self.sizes[index].tolist()
        return Image(real_path(self.root, self.paths[index]), self.digests[index], width, height)

    def take(self, rows: ArrayLike) -> Images:
        """The images of these rows, in their order."""
        picked = np.asarray(rows).tolist()
        return Images(
            self.root,
            [self.paths[i] for i in picked],
            [self.digests[i] for i in picked],
            self.sizes[picked].reshape(-1, 2),
        )

    def log_sizes(self) -> NDArray[np.float32]:
        """Natural logarithms of width and height, shape (n, 2): what a model is fed whose `Input` says `log_size`."""
        return np.log(np.maximum(self.sizes, 1)).astype(np.float32).reshape(-1, 2)


Fit = Literal["pad", "stretch"]
"""How an image comes into a square: with its aspect ratio kept and the rest filled with its border's colour, or
stretched to fill it."""


class Progress(Protocol):
    """Receives how far a stage is. `figures` are numbers worth showing; known names are images_per_second,
    loss, agreement (share of predictions that equal the given label) and memory_mib (of the device)."""

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None: ...


def silent(stage: str, done: int, total: int, /, **figures: float) -> None:
    """The `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a model reads, so that a validator can prepare it from the cache.

    `kind="pixels"`: array (n, channels, size_px, size_px), pixels / 255, standardised with `mean` and
    `std` (one value a channel), named "pixels" in the model.
    `kind="features"`: array (n, dim) of the cached array `features`, named "features" in the model.
    `log_size`: the model also reads "log_size", array (n, 2), natural logarithms of width and height.
    All are float32. The model returns one output, probabilities (n, classes).
    """

    kind: Literal["pixels", "features"]
    size_px: int = 0
    channels: int = 1
    fit: Fit = "pad"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    features: str = ""
    """Name of the array in the cache, see `Cache.array`."""
    log_size: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model on disk."""

    path: Path
    format: str
    """Such as "onnx"; a validator states which formats it accepts."""
    classes: tuple[str, ...]
    input: Input
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Figures worth keeping in result.json, such as epochs or final loss. JSON values only."""


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


METADATA_KEY = "dupekit"
"""Under which a model file carries what `model_metadata` says, in ONNX's `metadata_props` for one."""


def model_metadata(model: Model) -> dict[str, str]:
    """What a model file must carry so that it can be used without dupekit's records: input and classes.

    One entry, `METADATA_KEY`, whose value is JSON; `read_metadata` is its inverse.
    """
    # The model's path, and so `asdict(model)`, is where it lies now: not the model's own.
    return {METADATA_KEY: json.dumps({"version": 1, "classes": model.classes, "input": asdict(model.input)})}


def read_metadata(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], Input]:
    """Classes and input of a model from its file's metadata, as `model_metadata` wrote them.

    Raises PluginError where they are missing, damaged, or of a newer dupekit.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise PluginError(
            f"the model file has no metadata {METADATA_KEY!r}: it does not say what it reads",
            hint="A trainer adds dupekit.api.model_metadata(model) to the files that it writes.",
        )
    try:
        content = json.loads(text)
        if content["version"] != 1:
            raise ValueError(f"version {content['version']}, not 1")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content["input"].items()
        }
        classes = tuple(content["classes"])
        if values["kind"] not in ("pixels", "features") or not all(isinstance(c, str) for c in classes):
            raise ValueError("not a kind of input, or not names of classes")
        return classes, Input(**values)  # refuses a field that this dupekit does not know
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PluginError(f"the model file's metadata {METADATA_KEY!r} is damaged: {error}") from None
