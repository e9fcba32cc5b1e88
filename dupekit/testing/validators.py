"""Runs a validator through its contract on models that a trainer makes of a tiny dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dupekit.api import TRAINERS, VALIDATORS, Trainer, Validator
from dupekit.testing.bench import Predictions, Trainings, bench
from dupekit.testing.findings import Findings, broken, check_class


def check_validator(
    validator: type[Validator[Any]],
    trainer: type[Trainer[Any]],
    *,
    options: Mapping[str, Any] | None = None,
    trainer_options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    tolerance: float = 1e-3,
) -> None:
    """Predicts 30 images with a model that `trainer` makes; all at once, in another order, one, and none.

    A row must not depend on the other images that are predicted with it, to within `tolerance`. Raises PluginError
    listing every point that is broken; an exception of the plugin is its cause.
    """
    findings = Findings()
    chosen = check_class(findings, VALIDATORS, validator, options)
    of_trainer = check_class(findings, TRAINERS, trainer, trainer_options)
    with bench(device) as made, findings.step():
        if trainer.produces not in validator.accepts:
            broken(validator, f"it does not accept {trainer.produces!r}, what {trainer.__name__} produces")
        model = Trainings(findings, made, trainer, of_trainer).train(made.task(of_trainer))
        judge = Predictions(findings, made, validator, chosen)
        with findings.step():
            rows = judge.predict(model)
            with findings.step():
                backwards = judge.predict(model, " of images in reverse", rows=made.held_out[::-1])
                if not np.allclose(backwards[::-1], rows, atol=tolerance):
                    broken(
                        validator,
                        "predict() gives other rows, or in another order, for images in reverse order",
                    )
            with findings.step():
                middle = len(rows) // 2
                one = judge.predict(model, " of one image", rows=made.held_out[middle : middle + 1])
                if not np.allclose(one[0], rows[middle], atol=tolerance):
                    broken(validator, "what predict() says of an image depends on the images beside it")
        with findings.step():
            judge.predict(model, " of no images", rows=made.held_out[:0])
        with findings.step():
            judge.close()
        with findings.step():
            made.check_files(validator, "predicting")
    findings.finish()
