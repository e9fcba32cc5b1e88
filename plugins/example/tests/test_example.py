from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dupekit_example import ExampleTrainer, ExampleValidator

from dupekit.api import PredictTask, TrainTask, read_metadata, silent
from dupekit.dataset.cache import Cache
from dupekit.errors import OptionError
from dupekit.plugin.registry import load
from dupekit.testing import check_trainer, check_validator, load_images, make_dataset


def test_the_contract_is_kept() -> None:
    check_trainer(ExampleTrainer, ExampleValidator)
    check_validator(ExampleValidator, ExampleTrainer)


def test_is_installed_under_its_name() -> None:
    assert load("dupekit.trainers", "centroid") is ExampleTrainer
    assert load("dupekit.validators", "centroid") is ExampleValidator


def test_wrong_labels_stand_out(tmp_path: Path) -> None:
    images, given, classes = load_images(make_dataset(tmp_path / "data", per_class=40))
    wrong = np.arange(5)  # five of the first class are labelled as the second
    labels = given.copy()
    labels[wrong] = 1
    options, cache = ExampleTrainer.Options(), Cache(tmp_path / "cache")
    train = np.arange(1, len(images), 2)
    task = TrainTask(
        name="p01-a",
        images=images.take(train),
        labels=labels[train],
        classes=classes,
        pool=images,
        seed=0,
        device="cpu",
        workdir=tmp_path,
        cache=cache,
        options=options,
    )
    model = ExampleTrainer().train(task, silent)
    held_out = np.arange(0, len(images), 2)
    found = ExampleValidator().predict(
        PredictTask(model, images.take(held_out), "cpu", cache, ExampleValidator.Options()), silent
    )
    assert (found.argmax(axis=1) == given[held_out]).all()


def test_the_file_says_what_it_reads(tmp_path: Path) -> None:
    images, labels, classes = load_images(make_dataset(tmp_path / "data", per_class=4))
    options, cache = ExampleTrainer.Options(), Cache(tmp_path / "cache")
    task = TrainTask("p01-a", images, labels, classes, images, 0, "cpu", tmp_path, cache, options)
    model = ExampleTrainer().train(task, silent)
    with np.load(model.path) as file:
        assert read_metadata({"dupekit": str(file["dupekit"])}) == (classes, model.input)


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(OptionError, match="size_px=100 is not between 2 and 64"):
        ExampleTrainer.Options(size_px=100)
