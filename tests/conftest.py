from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from dupekit import Choices
from dupekit.api import TRAINERS, VALIDATORS
from dupekit.project import Project
from dupekit.testing import make_dataset, register

# A shared machine is sometimes slow; pytest-timeout stops what hangs.
settings.register_profile("dupekit", deadline=None)
settings.load_profile("dupekit")

POINTS = {
    TRAINERS: {
        "fake": "dupekit.testing:CentroidTrainer",
        "broken": "tests.support:BrokenTrainer",
        "talkative": "tests.support:TalkativeTrainer",
    },
    VALIDATORS: {"fake": "dupekit.testing:CentroidValidator"},
}


@pytest.fixture(scope="session")
def fast_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that registers fast plugins for every Python that has it on its path."""
    return register(tmp_path_factory.mktemp("site"), POINTS)


@pytest.fixture
def fast(fast_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Makes the fakes available, here and in worker processes; gives the choices that name them."""
    monkeypatch.syspath_prepend(str(fast_plugins))
    root = Path(__file__).parent.parent
    paths = [str(fast_plugins), str(root), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    return {"trainer": "fake", "validator": "fake"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three classes that are easy to tell apart, twelve images each, and two of them in a wrong folder."""
    folder = tmp_path / "data"
    make_dataset(folder, classes=("amoeba", "ciliate", "diatom"), per_class=12, seed=3)
    for source, target in (("amoeba", "ciliate"), ("diatom", "amoeba")):
        file = sorted((folder / source).iterdir())[0]
        file.rename(folder / target / f"wrong_{source}.png")
    return folder


@pytest.fixture
def project(tmp_path: Path, dataset: Path) -> Project:
    made = Project.create(dataset, tmp_path / "project")
    made.scan()
    return made


@pytest.fixture
def trained(project: Project, fast: dict[str, object]) -> Project:
    done = project.train(Choices(pairs=3, **fast))
    assert not done.failed
    return project
