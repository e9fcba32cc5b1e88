"""Job folders: the files of a run, and the boundary between processes.

    rounds/01/images.npz            the round's images and classes, one file for all runs
    rounds/01/splits/p03.npy        the split of pair 3: bool, True for the second half
    rounds/01/weights.npy           how much each image counts in the second stage: float32
    rounds/01/runs/p03-a/job.json   what to do
                       .../predictions.npz, result.json   what came out, written in this order
                       .../log.txt

A worker reads job.json and what it names, and writes the rest, each file atomically. result.json is
written last: where it is, the run has ended. No pickles, and all paths in job.json are relative to its
folder, so that a project may be mounted elsewhere on another machine.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dupekit.errors import JobError
from dupekit.files.json_text import LARGEST, in_a_line
from dupekit.files.regular import open_regular, read_regular
from dupekit.files.write import write_text
from dupekit.plugin.contract import PREDICTIONS, RESULT

JOB, LOG = "job.json", "log.txt"


class Half(StrEnum):
    """Of a pair: 'a' trains on the first half and predicts the second, 'b' the reverse."""

    A = "a"
    B = "b"


def run_name(pair: int, half: Half) -> str:
    """As in "p03-a"; also the job folder's name."""
    return f"p{pair:02d}-{half}"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Choice(_File):
    """A plugin and its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class JobFile(_File):
    """job.json: what a run has to do."""

    format: Literal["dupekit/job/1"] = Field("dupekit/job/1", alias="schema")
    name: str
    round: int = Field(ge=1, le=LARGEST)
    pair: int = Field(ge=1, le=LARGEST)
    half: Half = Field(description="'a' trains on the first half and predicts the second, 'b' the reverse.")
    images: str = Field(
        description="The round's images.npz, relative to the job's folder; of an older round its images.json."
    )
    split: str = Field(description="The pair's split, a .npy file, likewise.")
    weights: str | None = Field(
        None,
        description="How much each of the round's images counts in the training, a .npy file, likewise; null: all the same.",
    )
    cache: str = Field(description="The project's cache folder, likewise.")
    seed: int = Field(ge=0, le=LARGEST, description="Of the training; the split has its own.")
    device: str = Field(description="auto, cpu, cuda or cuda:N")
    trainer: Choice
    validator: Choice
    max_pixels: int = Field(gt=0, le=LARGEST, description="Larger images are refused.")
    class_max: int | None = Field(
        None,
        ge=1,
        le=LARGEST,
        description="Train on so many images of a class at most, drawn by the seed; null: on all.",
    )
    keep_model: bool = Field(description="Keep the model's file after its predictions are written.")


class ResultFile(_File):
    """result.json: how a run ended."""

    format: Literal["dupekit/result/1"] = Field("dupekit/result/1", alias="schema")
    name: str
    status: Literal["done", "failed"]
    error: str | None = None
    finished: str = Field(description="UTC, ISO 8601.")
    seconds_training: float = Field(0, ge=0)
    seconds_predicting: float = Field(0, ge=0)
    images_trained: int = Field(0, ge=0, le=LARGEST)
    images_predicted: int = Field(0, ge=0, le=LARGEST)
    agreement: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of the predictions in which the given label is more probable than every other class.",
    )
    host: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    notes: dict[str, Any] = Field(default_factory=dict, description="What the trainer says of its model.")
    features: str | None = Field(
        None, description="Name of the cached array that the model reads; null where it reads pixels."
    )


_Model = TypeVar("_Model", bound=BaseModel)


def write_model(path: Path, model: BaseModel, *, by_way_of: Path | None = None) -> None:
    """Writes a file of the round or job folder. As `files.write.atomic_write`."""
    write_text(path, model.model_dump_json(indent=1, by_alias=True), by_way_of=by_way_of)


def read_model(path: Path, kind: type[_Model]) -> _Model:
    """Reads one. Raises JobError where it is missing or not valid."""
    try:
        return kind.model_validate_json(read_regular(path))
    except OSError as error:
        raise JobError(
            f"{path} cannot be read: {error.strerror}.", hint="Run `dupekit train` again to prepare it anew."
        ) from None
    except ValueError as error:
        raise JobError(
            f"{path} is not valid: {in_a_line(error)}.",
            hint="Delete this file and run `dupekit train` again.",
        ) from None


def read_result(folder: Path) -> ResultFile | None:
    """The result of a run that is done, with its predictions; None while it is not, or where it failed.

    Raises JobError where result.json is not valid, or of another run than the folder's.
    """
    if not (folder / RESULT).is_file() or not (folder / PREDICTIONS).is_file():
        return None
    result = read_model(folder / RESULT, ResultFile)
    if result.name != folder.name:
        raise JobError(f"{folder / RESULT} is of the run {result.name!r}.")
    return result if result.status == "done" else None


def read_weights(file: Path, count: int) -> NDArray[np.float32]:
    """How much each image of a round counts in the second stage, shape (count,).

    Raises JobError where the file holds something else, OSError, ValueError or EOFError where it cannot be read.
    """
    with open_regular(file, "rb") as content:
        weights: NDArray[np.float32] = np.load(content, allow_pickle=False)
    good = weights.dtype == np.float32 and weights.shape == (count,)
    if not (good and ((weights >= 0) & (weights <= 1)).all()):
        raise JobError(
            f"{file} does not hold a weight from 0 to 1 for each of the round's {count} images.",
            hint="Run `dupekit train` again: it makes the file anew.",
        )
    return weights
