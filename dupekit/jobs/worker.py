"""Doing runs: trains, predicts, and writes what came out. One process, one plugin instance, many jobs."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.cache import Cache
from dupekit.dataset.images import Images
from dupekit.errors import DupekitError, PluginError
from dupekit.jobs.files import JOB, LOG, Half, JobFile, ResultFile, RoundFile, read_model, write_model
from dupekit.jobs.predictions import write_predictions
from dupekit.plugin.contract import (
    RESULT,
    TRAINERS,
    VALIDATORS,
    Job,
    Outcome,
    PredictTask,
    Trainer,
    TrainsMany,
    TrainTask,
    Validator,
)
from dupekit.plugin.model import Model
from dupekit.plugin.registry import load, options_for
from dupekit.rounds.tally import most_probable
from dupekit.system.progress import Progress
from dupekit.system.stamp import now

_VERSIONS_OF = ("dupekit", "numpy", "torch", "onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    job: Job
    file: JobFile
    task: TrainTask[Any]
    held_out: NDArray[np.int64]
    ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    """Of the held-out images."""


def run_jobs(jobs: Sequence[Job], progress: Progress) -> Iterator[Outcome]:
    """Does these runs, one after the other; yields how each ended.

    Whatever happens to a run is written to its result.json and log.txt; nothing but an interruption ends
    the others.
    """
    known: list[tuple[Job, JobFile]] = []
    for job in jobs:
        try:
            known.append((job, read_model(job.folder / JOB, JobFile)))
        except DupekitError as error:
            yield _failed(job, error)
    for _, group in groupby(known, key=lambda item: _likeness(item[1])):
        yield from _run_alike(list(group), progress)


def _likeness(job: JobFile) -> str:
    """Equal for jobs that one `train_many` may do: all but name, split and seed."""
    different = {"name": "", "pair": 1, "half": Half.A, "seed": 0, "split": ""}
    return job.model_copy(update=different).model_dump_json()


def _run_alike(jobs: list[tuple[Job, JobFile]], progress: Progress) -> Iterator[Outcome]:
    try:
        trainer, validator = _plugins(jobs[0][1])
        prepared = _prepare(jobs, trainer)
        predict_options = options_for(validator, jobs[0][1].validator.options)
    except Exception as error:
        yield from (_failed(job, error) for job, _ in jobs)
        return
    models = _train(trainer, [one.task for one in prepared], progress)
    for one in prepared:
        with _logging_to(one.job.folder):
            started = time.perf_counter()
            try:
                model = next(models)
                if isinstance(model, Exception):
                    raise model
                _predict(one, model, validator, predict_options, progress, started)
                outcome = Outcome(one.job)
            except Exception as error:
                outcome = _failed(one.job, error)
        yield outcome


def _train(
    trainer: Trainer[Any], tasks: Sequence[TrainTask[Any]], progress: Progress
) -> Iterator[Model | Exception]:
    """For each task, in order, its model or why there is none.

    A generator that raised is finished, so what comes after the failed task is asked for anew; where the
    first of those fails as well, the cause is hardly the task's own, and the others are not tried.
    """
    if not isinstance(trainer, TrainsMany) or len(tasks) == 1:
        for task in tasks:
            try:
                yield _checked(trainer, task, trainer.train(task, progress))
            except Exception as error:
                yield error
        return
    rest = tasks
    while rest:
        given = 0
        problem: Exception = PluginError(f"{type(trainer).__name__} ended before it had trained every run.")
        try:
            for task, model in zip(rest, trainer.train_many(rest, progress), strict=False):
                yield _checked(trainer, task, model)
                given += 1
        except Exception as error:
            problem = error
        failed = rest[given:]
        again = given > 0 or len(rest) == len(tasks)
        yield from [problem] * min(len(failed), 1 if again else len(failed))
        rest = failed[1:] if again else []


def _plugins(job: JobFile) -> tuple[Trainer[Any], Validator[Any]]:
    trainer: Trainer[Any] = load(TRAINERS, job.trainer.name)()
    validator: Validator[Any] = load(VALIDATORS, job.validator.name)()
    return trainer, validator


def _prepare(jobs: list[tuple[Job, JobFile]], trainer: Trainer[Any]) -> list[_Prepared]:
    first_job, first = jobs[0]
    of_round = read_model(first_job.folder / first.images, RoundFile)
    pool = of_round.as_images()
    labels = np.array(of_round.labels, np.int32)
    ids = np.array(of_round.ids, np.int64)
    cache = Cache((first_job.folder / first.cache).resolve(), max_pixels=first.max_pixels)
    options = options_for(trainer, first.trainer.options)
    return [
        _prepare_one(job, file, pool, labels, ids, tuple(of_round.classes), cache, options)
        for job, file in jobs
    ]


def _prepare_one(
    job: Job,
    file: JobFile,
    pool: Images,
    labels: NDArray[np.int32],
    ids: NDArray[np.int64],
    classes: tuple[str, ...],
    cache: Cache,
    options: Any,
) -> _Prepared:
    second = np.load(job.folder / file.split, allow_pickle=False)
    held_out = np.flatnonzero(second if file.half == "a" else ~second)
    trained = np.flatnonzero(~second if file.half == "a" else second)
    task = TrainTask(
        name=file.name,
        pool=pool,
        rows=trained,
        labels=labels[trained],
        classes=classes,
        seed=file.seed,
        device=file.device,
        workdir=job.folder,
        cache=cache,
        options=options,
    )
    return _Prepared(job, file, task, held_out, ids[held_out], labels[held_out])


def _checked(trainer: Trainer[Any], task: TrainTask[Any], model: Model) -> Model:
    if model.classes != task.classes or model.format != trainer.produces or not model.path.is_file():
        raise PluginError(
            f"{type(trainer).__name__} broke its contract for {task.name}: the model's classes, its format"
            f" ({model.format!r}) or its file {model.path} are not as promised.",
            hint="Its author can find out more with dupekit.testing.check_trainer.",
        )
    return model


def _predict(
    one: _Prepared, model: Model, validator: Validator[Any], options: Any, progress: Progress, started: float
) -> None:
    trained = time.perf_counter()
    task = PredictTask(model, one.task.pool, one.held_out, one.file.device, one.task.cache, options)
    expected = (len(one.held_out), len(model.classes))
    blocks = [np.empty((0, len(model.classes)), np.float32), *validator.predict(task, progress)]
    probabilities = np.concatenate(blocks)
    sums = probabilities.sum(axis=1) if probabilities.shape == expected else np.zeros(1)
    # Written so that NaN fails, too.
    if not ((np.abs(sums - 1) < 0.01).all() and (probabilities >= 0).all()):
        raise PluginError(
            f"{type(validator).__name__} gave an array of shape {probabilities.shape} that is not what was asked"
            f" for: probabilities of shape {expected}, none negative, every row summing to 1.",
            hint="Its author can find out more with dupekit.testing.check_validator.",
        )
    # As they are stored and counted: float16.
    predicted = most_probable(probabilities.astype(np.float16), one.labels)
    write_predictions(one.job.folder, images=one.ids, probabilities=probabilities)
    if not one.file.keep_model:
        model.path.unlink(missing_ok=True)
    result = ResultFile(
        name=one.file.name,
        status="done",
        finished=now(),
        seconds_training=round(trained - started, 3),
        seconds_predicting=round(time.perf_counter() - trained, 3),
        images_trained=len(one.task.rows),
        images_predicted=len(one.held_out),
        agreement=float((predicted == one.labels).mean()) if len(one.held_out) else 0.0,
        host=platform.node(),
        versions=_versions(),
        notes=dict(model.notes),
    )
    write_model(one.job.folder / RESULT, result)


def _failed(job: Job, error: Exception) -> Outcome:
    """Writes that a run failed, with the whole traceback in its log."""
    text = str(error) if isinstance(error, DupekitError) else f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):  # the folder itself may be what is missing
        with (job.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{now()} ERROR {job.name}\n{''.join(traceback.format_exception(error))}")
        write_model(
            job.folder / RESULT,
            ResultFile(name=job.name, status="failed", error=text, finished=now(), versions=_versions()),
        )
    return Outcome(job, text)


@contextlib.contextmanager
def _logging_to(folder: Path) -> Iterator[None]:
    handler = logging.FileHandler(folder / LOG, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def end_with_parent(stdin: int) -> None:
    """Waits until the parent's end of the pipe closes, then ends this process at once.

    A parent that was killed can no longer stop its workers; a pipe that it held always closes."""
    while os.read(stdin, 1):
        pass
    os._exit(1)
