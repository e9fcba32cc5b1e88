"""What is wrong with what a plugin gives: models, predictions, calls of progress.

The one place that says so: a worker and `dupekit.testing` ask here, so that neither takes what the other refuses.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.images import Fit
from dupekit.plugin.contract import PredictTask, TrainTask
from dupekit.plugin.model import FeatureInput, Model, PixelInput
from dupekit.system.progress import Progress

TOLERANCE = 0.01
"""By which the sum of a row of probabilities may differ from 1: half precision's rounding, and no more."""


class Breach(Exception):
    """A plugin broke its contract: what it did, and what would be right."""


def model_problems(model: Any, task: TrainTask[Any], *, produces: str) -> list[str]:
    """What is wrong with what a training gave."""
    if not isinstance(model, Model):
        return [f"the training gave {_kind(model)}, not a dupekit.api.Model"]
    problems = [_classes_problem(model.classes, task.classes), _path_problem(model.path, task.workdir)]
    if model.format != produces:
        problems.append(f"its model has the format {model.format!r}, but it produces {produces!r}")
    try:
        json.dumps(dict(model.notes), allow_nan=False)
    except (TypeError, ValueError) as error:
        problems.append(f"its model's notes {model.notes!r} are not JSON values: {error}")
    problems.append(_input_problem(model.input))
    return [problem for problem in problems if problem is not None]


def _classes_problem(found: Any, wanted: tuple[str, ...]) -> str | None:
    if found == wanted:
        return None
    if not isinstance(found, tuple):
        return f"its model's classes are {_kind(found)}, not a tuple"
    missing = [repr(name) for name in wanted if name not in found]
    extra = [repr(name) for name in found if name not in wanted]
    said = []
    if missing:
        said.append(f"lack {', '.join(missing)}")
    if extra:
        said.append(f"have {', '.join(extra)}, which the task has not")
    return f"its model's classes {' and '.join(said) or 'are not in the order of the task'}"


def _path_problem(path: Any, workdir: Path) -> str | None:
    if not isinstance(path, Path):
        return f"its model's path is {_kind(path)}, not a pathlib.Path"
    if not path.is_file():
        return f"its model's path is not a file: {path}"
    if not path.resolve().is_relative_to(workdir.resolve()):
        return f"its model lies outside the task's workdir: {path} is not in {workdir}"
    return None


def _input_problem(given: Any) -> str | None:
    if not isinstance(given, PixelInput | FeatureInput):
        return f"its model's input is {_kind(given)}, neither a dupekit.api.PixelInput nor a FeatureInput"
    name = type(given).__name__
    if type(given.log_size) is not bool:
        return f"its model's {name}.log_size is {given.log_size!r}, not True or False"
    if isinstance(given, FeatureInput):
        named = isinstance(given.features, str) and given.features
        return None if named else "its model reads features, but does not name the cached array"
    for field in ("size_px", "channels"):
        if type(value := getattr(given, field)) is not int:
            return f"its model's {name}.{field} is {value!r}, not a whole number (int)"
    for field in ("mean", "std"):
        value = getattr(given, field)
        if not isinstance(value, tuple) or not all(isinstance(one, int | float) for one in value):
            return f"its model's {name}.{field} is {value!r}, not a tuple of numbers (float), one a channel"
    if given.size_px < 1 or given.channels not in (1, 3):
        return f"its model reads {given.channels} channels of {given.size_px} px; 1 or 3 channels are known"
    if not len(given.mean) == len(given.std) == given.channels or not all(value > 0 for value in given.std):
        return f"its model's mean {given.mean} and std {given.std} are not one value a channel, std above 0"
    if given.fit not in get_args(Fit):
        return f"its model's fit is {given.fit!r}, not {' or '.join(get_args(Fit))}"
    return None


def checked_blocks(blocks: Any, task: PredictTask[Any]) -> Iterator[NDArray[np.float32]]:
    """The blocks that predicting gave, one by one. Raises Breach at the first that is wrong."""
    if isinstance(blocks, np.ndarray):
        raise Breach(f"predict() returned {_kind(blocks)}, not an iterator of blocks: yield it instead")
    if not isinstance(blocks, Iterable):
        raise Breach(f"predict() returned {_kind(blocks)}, not an iterator of blocks: it must yield them")
    done, total = 0, len(task.rows)
    for number, block in enumerate(blocks, 1):
        _check_form(block, number, len(task.model.classes))
        if done + len(block) > total:
            raise Breach(f"predict() gave too many rows: more than the {total} images that it was asked for")
        _check_rows(block, done, task)
        done += len(block)
        yield block
    if done < total:
        raise Breach(f"predict() gave too few rows: {done} for {total} images")


def _check_form(block: Any, number: int, classes: int) -> None:
    if not isinstance(block, np.ndarray):
        raise Breach(f"block {number} of predict() is {_kind(block)}, not a NumPy array")
    if block.dtype != np.float32:
        raise Breach(f"block {number} of predict() holds {block.dtype}, not float32")
    if block.ndim != 2 or block.shape[1] != classes:
        raise Breach(
            f"block {number} of predict() is not of shape (any number, {classes}), a column a class: it has {block.shape}"
        )


def _check_rows(block: NDArray[np.float32], start: int, task: PredictTask[Any]) -> None:
    sums = block.sum(axis=1, dtype=np.float64)
    wrong = ~np.isfinite(block).all(axis=1) | (block < 0).any(axis=1) | ~(np.abs(sums - 1) <= TOLERANCE)
    if not wrong.any():
        return
    at = int(np.argmax(wrong))
    row = block[at]
    path = task.pool.paths[int(task.rows[start + at])]
    said = f"a row of predict() holds no probabilities: row {start + at}, of {path},"
    for problem in (~np.isfinite(row), row < 0):
        if problem.any():
            column = int(np.argmax(problem))
            raise Breach(
                f"{said} gives the class {task.model.classes[column]!r} the probability {row[column]:.4g}"
            )
    raise Breach(f"{said} sums to {sums[at]:.4g}, not 1: logits need a softmax")


@dataclass(frozen=True, slots=True)
class Told:
    """How far a stage is, in plain numbers."""

    stage: str
    done: int
    total: int
    figures: Mapping[str, float]


def told(stage: Any, done: Any, total: Any, figures: Mapping[str, Any]) -> Told:
    """A call of progress, numbers of NumPy and other libraries made plain. Raises Breach for one that cannot be."""
    if not isinstance(stage, str) or not stage:
        raise Breach(f"it told progress the stage {stage!r}, not a text")
    try:
        plain = operator.index(done), operator.index(total)
    except TypeError:
        plain = (1, 0)
    if not 0 <= plain[0] <= plain[1]:
        raise Breach(
            f"it told progress {done!r} done of {total!r} in {stage!r}, not whole numbers, 0 <= done <= total"
        )
    numbers = {}
    for name, value in figures.items():
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            numbers[name] = float(value)
        except (TypeError, ValueError) as error:
            raise Breach(f"it told progress {name}={value!r} in {stage!r}, not a number") from error
    return Told(stage, *plain, numbers)


class CheckedProgress:
    """A `Progress` that raises a Breach in the plugin that calls it as it cannot be, and passes plain numbers on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def cancelled(self) -> bool:
        return self._progress.cancelled

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        call = told(stage, done, total, figures)
        self._progress(call.stage, call.done, call.total, **call.figures)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
