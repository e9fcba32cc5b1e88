from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dupekit_example import ExampleTrainer, ExampleValidator

from dupekit.api import Cache, OptionError, PredictTask, TrainTask, read_metadata, silent
from dupekit.testing import check_trainer, check_validator, load_images, make_dataset, options_for


def test_the_contract_is_kept() -> None:
    check_trainer(ExampleTrainer, ExampleValidator)
    check_validator(ExampleValidator, ExampleTrainer)


@pytest.mark.parametrize(
    ("group", "plugin"), [("dupekit.trainers", ExampleTrainer), ("dupekit.validators", ExampleValidator)]
)
def test_is_installed_under_its_name(group: str, plugin: type) -> None:
    (point,) = metadata.entry_points(group=group, name="centroid")
    assert point.load() is plugin


def task(folder: Path, *, per_class: int, **changes: Any) -> TrainTask[Any]:
    """A training on every other image of a tiny dataset."""
    images, labels, classes = load_images(make_dataset(folder / "data", per_class=per_class))
    rows = np.arange(1, len(images), 2)
    given: dict[str, Any] = {
        "name": "p01-a",
        "pool": images,
        "rows": rows,
        "labels": labels[rows],
        "classes": classes,
        "seed": 0,
        "device": "cpu",
        "workdir": folder,
        "cache": Cache(folder / "cache"),
        "options": options_for(ExampleTrainer, {}),
    }
    return TrainTask(**{**given, **changes})


def test_wrong_labels_stand_out(tmp_path: Path) -> None:
    right = task(tmp_path, per_class=40)
    labels = right.labels.copy()
    labels[:3] = 1  # three of the first class are labelled as the second
    wrong = task(tmp_path, per_class=40, labels=labels)
    model = ExampleTrainer().train(wrong, silent)
    options = options_for(ExampleValidator, {})
    predicting = PredictTask(model, wrong.pool, wrong.rows - 1, "cpu", wrong.cache, options)
    found = np.concatenate(list(ExampleValidator().predict(predicting, silent)))
    assert (found.argmax(axis=1) == right.labels).all()  # every other image: of the same classes


def test_the_file_says_what_it_reads(tmp_path: Path) -> None:
    given = task(tmp_path, per_class=4)
    model = ExampleTrainer().train(given, silent)
    with np.load(model.path) as file:
        assert read_metadata({"dupekit": str(file["dupekit"])}) == (given.classes, model.input)


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(OptionError, match="size_px='100': it must be a whole number from 2 to 64"):
        options_for(ExampleTrainer, {"size_px": "100"})
