"""Doing runs: trains, predicts, and writes what came out. One process, one instance of each plugin, many jobs."""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
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
from dupekit.files.regular import open_regular
from dupekit.files.write import clear_partials
from dupekit.jobs.failure import Named, explained
from dupekit.jobs.files import (
    JOB,
    LOG,
    Half,
    JobFile,
    ResultFile,
    read_model,
    read_weights,
    write_model,
)
from dupekit.jobs.images import read_images
from dupekit.jobs.predictions import writing_predictions
from dupekit.plugin.checks import Breach, CheckedProgress, checked_blocks, model_problems
from dupekit.plugin.contract import (
    RESULT,
    TRAINERS,
    VALIDATORS,
    Job,
    JobState,
    Outcome,
    PredictTask,
    Prepares,
    Trainer,
    TrainsMany,
    TrainTask,
)
from dupekit.plugin.model import FeatureInput, Model
from dupekit.plugin.options import options_for
from dupekit.plugin.registry import check_hint, close, make
from dupekit.rounds.capping import capped
from dupekit.rounds.tally import agrees
from dupekit.system.progress import Progress, stage
from dupekit.system.stamp import now

_LOG = logging.getLogger("dupekit.jobs")
_VERSIONS_OF = ("dupekit", "numpy", "torch", "onnxruntime-gpu", "onnxruntime")

_Failure = Exception | SystemExit
"""What ends a run, and not the worker: a plugin's sys.exit, too."""


@dataclass(frozen=True, slots=True, eq=False)
class _Round:
    """What all runs of a round are given."""

    pool: Images
    labels: NDArray[np.int32]
    ids: NDArray[np.int64]
    classes: tuple[str, ...]
    cache: Cache


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A run that is ready to be done."""

    job: Job
    file: JobFile
    task: TrainTask[Any]
    of_round: _Round
    is_held_out: NDArray[np.bool_]
    """Which of the round's images it predicts: of a million images and twenty runs their numbers would take hundreds of megabytes."""


def run_batches(batches: Iterable[Sequence[Job]], progress: Progress) -> Iterator[Outcome]:
    """Does the runs of each batch before it asks for the next, with one instance of each plugin for all; yields how each ended.

    Whatever happens to a run is written to its result.json and log.txt; nothing but an interruption ends the others.
    Once `progress.cancelled` is true, no more runs are begun, and one that ends without a result has failed nowhere.
    """
    with contextlib.closing(_Plugins()) as plugins:
        for jobs in batches:
            known: list[tuple[Job, JobFile]] = []
            for job in jobs:
                clear_partials(job.folder)  # of a worker that was killed here, and whose run is repeated
                (job.folder / RESULT).unlink(
                    missing_ok=True
                )  # likewise: it is not done before this worker says so
                try:
                    known.append((job, read_model(job.folder / JOB, JobFile)))
                except DupekitError as error:
                    yield _failed(job, error)
            for _, group in groupby(known, key=lambda item: _likeness(item[1])):
                if progress.cancelled:
                    return
                yield from _run_alike(list(group), plugins, CheckedProgress(progress))


def prepare(job: Job, progress: Progress) -> None:
    """Does what the runs of this one's round share and needs no GPU, where the trainer knows of such a thing."""
    file = read_model(job.folder / JOB, JobFile)
    with contextlib.closing(_Plugins()) as plugins:
        trainer = plugins.get(TRAINERS, file.trainer.name)
        if not isinstance(trainer.plugin, Prepares):
            return
        options = options_for(trainer.plugin, file.trainer.options)
        prepared = _prepare(job, file, _round(job, file), options)
        try:
            trainer.plugin.prepare(prepared.task, CheckedProgress(progress))
        except (Exception, SystemExit) as error:
            raise explained(error, trainer) from error


class _Plugins:
    """One instance of each plugin, kept for all runs."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Named] = {}

    def get(self, group: str, name: str) -> Named:
        """Raises as `registry.make`."""
        if (group, name) not in self._made:
            self._made[group, name] = Named(group, name, make(group, name))
        return self._made[group, name]

    def close(self) -> None:
        for one in self._made.values():
            try:
                close(one.plugin)
            except Exception as error:  # the runs are done: it spoils none of them
                _LOG.warning("%s could not be closed: %s", one, explained(error, one).message)


def _likeness(job: JobFile) -> str:
    """Equal for jobs that one `train_many` may do: all but name, split and seed."""
    different = {"name": "", "pair": 1, "half": Half.A, "seed": 0, "split": ""}
    return job.model_copy(update=different).model_dump_json()


def _run_alike(
    jobs: Sequence[tuple[Job, JobFile]], plugins: _Plugins, progress: Progress
) -> Iterator[Outcome]:
    first = jobs[0][1]
    try:
        with stage(progress, "loading the trainer"):
            trainer = plugins.get(TRAINERS, first.trainer.name)
            validator = plugins.get(VALIDATORS, first.validator.name)
            options = options_for(trainer.plugin, first.trainer.options)
            predict_options = options_for(validator.plugin, first.validator.options)
        with stage(progress, "reading the round"):
            of_round = _round(*jobs[0])
            prepared = [_prepare(job, file, of_round, options) for job, file in jobs]
    except Exception as error:
        yield from (_failed(job, error) for job, _ in jobs)
        return
    models = _train(trainer.plugin, [one.task for one in prepared], progress)
    for one in prepared:
        if progress.cancelled:  # which a trainer need not look at
            return
        with _logging_to(one.job):
            outcome = _run(one, models, trainer, validator, predict_options, progress)
        if outcome is None:
            _note(one.job, JobState.CUT_OFF)
            return
        yield outcome


def _run(
    one: _Prepared,
    models: Iterator[Model | _Failure],
    trainer: Named,
    validator: Named,
    options: Any,
    progress: Progress,
) -> Outcome | None:
    """None where nobody waits for it any more."""
    started = time.perf_counter()
    at = trainer
    try:
        model = next(models)
        if isinstance(model, BaseException):
            raise model
        trained = time.perf_counter()
        at = validator
        held_out = np.flatnonzero(one.is_held_out)
        predicting = PredictTask(model, one.task.pool, held_out, one.file.device, one.task.cache, options)
        blocks = checked_blocks(validator.plugin.predict(predicting, progress), predicting)
        agreeing = _predicted(one, held_out, blocks)
        predicted = time.perf_counter()
        with stage(progress, "writing predictions"):
            seconds = {"training": trained - started, "predicting": predicted - trained}
            _conclude(one, model, agreeing, of=len(held_out), **seconds)
    except (Exception, SystemExit) as error:
        if at is validator and isinstance(error, PluginError):  # it is the model that it does not take
            said = f"{validator} refuses the model of {str(trainer)[0].lower()}{str(trainer)[1:]}: {error.message}"
            error = PluginError(said, hint=f"{error.hint} {check_hint(trainer.name)}".lstrip())
        return None if progress.cancelled else _failed(one.job, error, at)
    return Outcome(one.job)


def _train(
    trainer: Trainer[Any], tasks: Sequence[TrainTask[Any]], progress: Progress
) -> Iterator[Model | _Failure]:
    """For each task, in order, its model or why there is none.

    A generator that raised is finished, so what comes after the failed task is asked for anew; where the
    first of those fails as well, the cause is hardly the task's own, and the others are not tried.
    """
    if not isinstance(trainer, TrainsMany) or len(tasks) == 1:
        for task in tasks:
            try:
                _note(Job(task.name, task.workdir), JobState.AT_WORK)
                yield _checked(trainer, task, trainer.train(task, progress))
            except (Exception, SystemExit) as error:
                yield error
        return
    rest = tasks
    for task in tasks:
        _note(Job(task.name, task.workdir), JobState.AT_WORK)
    while rest:
        given = 0
        problem: _Failure = Breach("train_many() ended before it had trained every run")
        try:
            models = iter(trainer.train_many(rest, progress))
            for task, model in zip(rest, models, strict=False):
                if task is rest[-1]:
                    for _ in models:
                        raise Breach(
                            f"train_many() gave more models than the {len(rest)} tasks that it was asked for"
                        )
                yield _checked(trainer, task, model)
                given += 1
        except (Exception, SystemExit) as error:
            problem = error
        failed = rest[given:]
        again = given > 0 or len(rest) == len(tasks)
        yield from [problem] * min(len(failed), 1 if again else len(failed))
        rest = failed[1:] if again else []


def _note(job: Job, state: JobState | None) -> None:
    with contextlib.suppress(OSError):  # a disk that is full shows where it matters
        job.note(state)


def _checked(trainer: Trainer[Any], task: TrainTask[Any], model: Any) -> Model:
    if problems := model_problems(model, task, produces=trainer.produces):
        raise Breach("; ".join(problems))
    return model  # type: ignore[no-any-return]


def _round(job: Job, file: JobFile) -> _Round:
    of_round = read_images(job.folder / file.images)
    return _Round(
        of_round.as_images(),
        of_round.labels,
        of_round.ids,
        tuple(of_round.classes),
        Cache((job.folder / file.cache).resolve(), max_pixels=file.max_pixels),
    )


def _prepare(job: Job, file: JobFile, of_round: _Round, options: Any) -> _Prepared:
    with open_regular(job.folder / file.split, "rb") as content:
        second = np.load(content, allow_pickle=False)
    rows = np.flatnonzero(~second if file.half is Half.A else second)
    if file.class_max is not None:
        rows = rows[capped(of_round.labels[rows], file.class_max, seed=file.seed)]
    weights = None
    if file.weights is not None:
        weights = read_weights(job.folder / file.weights, len(second))[rows]
    task = TrainTask(
        name=file.name,
        pool=of_round.pool,
        rows=rows,
        labels=of_round.labels[rows],
        classes=of_round.classes,
        seed=file.seed,
        device=file.device,
        workdir=job.folder,
        cache=of_round.cache,
        options=options,
        weights=weights,
    )
    return _Prepared(job, file, task, of_round, second if file.half is Half.A else ~second)


def _predicted(one: _Prepared, held_out: NDArray[np.int64], blocks: Iterable[NDArray[np.float32]]) -> int:
    """Writes the blocks as they come; returns how many of the predictions agree with the given labels."""
    done = agreeing = 0
    classes, labels = len(one.task.classes), one.of_round.labels[held_out]
    with writing_predictions(one.job.folder, images=one.of_round.ids[held_out], classes=classes) as write:
        for block in blocks:
            stored = block.astype(np.float16)  # as it is counted, too
            write(stored)
            agreeing += int(agrees(stored, labels[done : done + len(stored)]).sum())
            done += len(stored)
    return agreeing


def _conclude(
    one: _Prepared, model: Model, agreeing: int, *, of: int, training: float, predicting: float
) -> None:
    """Writes result.json: the run has ended. So many of the predictions agree with the given labels, `of` so many."""
    if not one.file.keep_model:
        model.path.unlink(missing_ok=True)
    result = ResultFile(
        name=one.file.name,
        status="done",
        finished=now(),
        seconds_training=round(training, 3),
        seconds_predicting=round(predicting, 3),
        images_trained=len(one.task.rows),
        images_predicted=of,
        agreement=agreeing / of if of else 0.0,
        host=platform.node(),
        versions=_versions(),
        notes=dict(model.notes),
        features=model.input.features if isinstance(model.input, FeatureInput) else None,
    )
    _write_result(one.job, result)


def _write_result(job: Job, result: ResultFile) -> None:
    """The last thing that is done of a run: whoever is killed then leaves nothing behind."""
    _note(job, None)
    write_model(job.folder / RESULT, result)


def _failed(job: Job, error: BaseException, at: Named | None = None) -> Outcome:
    """Writes that a run failed, with the whole traceback in its log. `at` is the plugin that was at work."""
    if at is not None:
        error = explained(error, at).with_traceback(error.__traceback__)
    text = str(error) if isinstance(error, DupekitError) else f"{type(error).__name__}: {error}"
    told = f"{now()} ERROR {job.name}\n{''.join(traceback.format_exception(error))}"
    # The folder itself may be what is missing.
    with contextlib.suppress(OSError), open_regular(job.folder / LOG, "a+b") as log:
        log.write(told.encode(errors="backslashreplace"))
    result = ResultFile(name=job.name, status="failed", error=text, finished=now(), versions=_versions())
    with contextlib.suppress(OSError):
        _write_result(job, result)
    return Outcome(job, text)


class _LogFile(logging.FileHandler):
    def _open(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(
            open_regular(Path(self.baseFilename), "a+b"), encoding="utf-8", errors="backslashreplace"
        )


@contextlib.contextmanager
def _logging_to(job: Job) -> Iterator[None]:
    handler = _LogFile(job.folder / LOG, delay=True)
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
