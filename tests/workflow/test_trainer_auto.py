"""`--trainer auto`: by device and number of images."""

from __future__ import annotations

import pytest

from dupekit.project import Project
from dupekit.workflow import plan
from dupekit.workflow.plan import Choices


def chosen(project: Project) -> str:
    return project.train(Choices(trainer="auto"), dry_run=True).plan.trainer.name


def test_frozen_features_judge_few_images_and_where_there_is_no_gpu(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "cuda_devices", lambda: 0)
    assert chosen(project) == "probe"
    monkeypatch.setattr(plan, "cuda_devices", lambda: 1)
    assert chosen(project) == "probe"
    monkeypatch.setattr(plan, "MANY", project.scan().images)
    assert chosen(project) == "torch"
    monkeypatch.setattr(plan, "cuda_devices", lambda: 0)
    assert chosen(project) == "probe"


def test_in_a_round_that_was_begun_it_means_what_was_chosen_then(trained: Project) -> None:
    done = trained.train(Choices(trainer="auto"), dry_run=True)
    assert (done.plan.trainer.name, done.begun, done.todo) == ("fake", False, [])
