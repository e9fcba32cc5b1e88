"""Runs a trainer through its contract on a tiny dataset in a temporary folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import TRAINERS, VALIDATORS, Prepares, Trainer, TrainsMany, Validator
from dupekit.errors import PluginError
from dupekit.testing.bench import Predictions, Trainings, bench
from dupekit.testing.findings import Findings, Listener, broken, call, check_class


def check_trainer(
    trainer: type[Trainer[Any]],
    validator: type[Validator[Any]] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    validator_options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    min_accuracy: float = 0.5,
    tolerance: float = 1e-3,
) -> None:
    """Trains six times on 30 images of three classes, and looks at all that comes out.

    With a `validator` that reads its models, predictions are checked too: an equal task must give equal
    ones, to within `tolerance`; at least `min_accuracy` of the
    held-out images must be right, where guessing gives a third; and rows of weight 0 must not count, unless the trainer
    refuses weights with a PluginError. `options` as `--set` would give them, such as fewer epochs.

    Raises PluginError listing every point that is broken; an exception of the plugin is its cause.
    """
    findings = Findings()
    examine_trainer(
        findings,
        trainer,
        validator,
        options=options,
        validator_options=validator_options,
        device=device,
        min_accuracy=min_accuracy,
        tolerance=tolerance,
    )
    findings.finish()


def examine_trainer(
    findings: Findings,
    trainer: type[Trainer[Any]],
    validator: type[Validator[Any]] | None,
    *,
    options: Mapping[str, Any] | None,
    validator_options: Mapping[str, Any] | None,
    device: str,
    min_accuracy: float = 0.5,
    tolerance: float = 1e-3,
) -> None:
    """As `check_trainer`, but what it finds goes to `findings`."""
    chosen = check_class(findings, TRAINERS, trainer, options)
    of_validator = None
    if validator is not None:
        of_validator = check_class(findings, VALIDATORS, validator, validator_options)
    with bench(device) as made, findings.step():
        trainings = Trainings(findings, made, trainer, chosen)
        judge = (
            None if validator is None else Predictions(findings, made, validator, of_validator, maker=trainer)
        )
        lacking = ""  # a training that fails anyway fails not for want of a class
        with findings.step():
            model = trainings.train(made.task(chosen))
            lacking = " without images of a class"
            if judge is None:
                trainings.train(made.task(chosen))
            else:
                first = judge.predict(model)
                learns = False  # what a trainer that learns nothing makes of weights does not show
                with findings.step():
                    _check_accuracy(trainer, first, made.labels[made.held_out], min_accuracy)
                    learns = True
                with findings.step():
                    _check_repeatable(trainings, judge, first, tolerance)
                if learns:
                    with findings.step():
                        _check_weights(trainings, judge)
        with findings.step():
            _check_prepare(trainings)
        with findings.step():
            present = made.trained[made.labels[made.trained] != 1]
            model = trainings.train(made.task(chosen, rows=present), lacking)
            if judge is not None:
                judge.predict(model, " of a model whose second class had no training images")
        with findings.step():
            _check_many(trainings)
        with findings.step():
            trainings.close()
        with findings.step():
            made.check_files(trainer, "training and predicting" if validator else "training")


def _check_accuracy(
    trainer: type, probabilities: NDArray[np.float32], labels: NDArray[np.int32], least: float
) -> None:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    if right < math.ceil(least * len(labels)):
        broken(
            trainer,
            f"its model has {right} of {len(labels)} easy held-out images right, fewer than {least:.0%};"
            " does it take labels for positions in classes, and keep rows and labels together?",
        )


def _check_repeatable(
    trainings: Trainings, judge: Predictions, first: NDArray[np.float32], tolerance: float
) -> None:
    """An equal task gives equal predictions. Where not, another training finds out why."""
    bench, trainer = trainings.bench, trainings.owner

    def differs(plugin: Trainer[Any] | None = None) -> bool:
        model = trainings.train(bench.task(trainings.options), plugin=plugin)
        return not np.allclose(judge.predict(model), first, atol=tolerance)

    if differs():
        if differs(call(trainer, "its constructor", trainer)):
            broken(trainer, "the same task with the same seed gives a model that predicts otherwise")
        broken(trainer, "a training depends on those that the same instance did before it")


def _check_weights(trainings: Trainings, judge: Predictions) -> None:
    """Two thirds of each class have the next class's label and weight 0: they must not be learnt."""
    bench = trainings.bench
    task = bench.task(trainings.options)
    wrong = np.arange(len(task.rows)) % 3 != 0
    labels = np.where(wrong, (task.labels + 1) % len(bench.classes), task.labels).astype(np.int32)
    weighted = dataclasses.replace(task, labels=labels, weights=np.where(wrong, 0, 1).astype(np.float32))
    try:
        model = trainings.plugin.train(weighted, Listener(trainings.findings, trainings.owner))
    except PluginError:
        return  # it says in so many words that it does not take them
    except Exception as error:
        broken(trainings.owner, f"train() with task.weights raised {type(error).__name__}: {error}", error)
    predicted = judge.predict(trainings.checked(model, weighted)).argmax(axis=1)
    given = bench.labels[bench.held_out]
    if (predicted == given).sum() <= (predicted == (given + 1) % len(bench.classes)).sum():
        broken(trainings.owner, "train() passes over task.weights: rows of weight 0 count")


def _check_prepare(trainings: Trainings) -> None:
    plugin, trainer = trainings.plugin, trainings.owner
    if not isinstance(plugin, Prepares):
        return
    # A device that no machine has: what comes before the trainings may run where theirs is not.
    task = dataclasses.replace(trainings.bench.task(trainings.options), device="cuda:99")
    call(trainer, "prepare()", lambda: plugin.prepare(task, Listener(trainings.findings, trainer)))


def _check_many(trainings: Trainings) -> None:
    plugin, trainer, bench = trainings.plugin, trainings.owner, trainings.bench
    if not isinstance(plugin, TrainsMany):
        return
    tasks = [
        bench.task(trainings.options),
        bench.task(trainings.options, seed=2, rows=bench.held_out),
    ]
    progress = Listener(trainings.findings, trainer)
    models = call(trainer, "train_many()", lambda: list(plugin.train_many(tasks, progress)))
    if len(models) != len(tasks):
        broken(trainer, f"train_many() gave {len(models)} models for {len(tasks)} tasks")
    for task, model in zip(tasks, models, strict=True):
        trainings.checked(model, task)
