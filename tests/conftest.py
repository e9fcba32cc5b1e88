from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from dupekit import Choices
from dupekit.api import EXECUTORS, TRAINERS, VALIDATORS
from dupekit.project import Project
from dupekit.testing import make_dataset, register
from tests.browser import browser, open_page  # noqa: F401 - fixtures
from tests.support import moved_project

# A shared machine is sometimes slow; pytest-timeout stops what hangs.
settings.register_profile("dupekit", deadline=None)
settings.load_profile("dupekit")

POINTS = {
    TRAINERS: {
        "fake": "dupekit.testing:CentroidTrainer",
        "broken": "tests.support:BrokenTrainer",
        "waiting": "tests.support:WaitingTrainer",
        "preparing": "tests.support:PreparingTrainer",
        "talkative": "tests.support:TalkativeTrainer",
    },
    VALIDATORS: {
        "fake": "dupekit.testing:CentroidValidator",
        "fickle": "tests.support:FickleValidator",
    },
    EXECUTORS: {"here": "tests.support:HereExecutor", "queue": "tests.support:QueueExecutor"},
}


@pytest.fixture(scope="session")
def fast_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that registers fast plugins for every Python that has it on its path."""
    return register(tmp_path_factory.mktemp("site"), POINTS)


@pytest.fixture
def fast(fast_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Makes the fakes available, here and in worker processes; gives the choices that name them."""
    return with_fakes(fast_plugins, monkeypatch)


def with_fakes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the fixture `fast` does, for fixtures of a wider scope."""
    monkeypatch.syspath_prepend(str(folder))
    root = Path(__file__).parent.parent
    paths = [str(folder), str(root), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    return {"trainer": "fake", "validator": "fake"}


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the system has such, for thousands of small files that come and go."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def template(fast_plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and its project scanned and trained: made once, copied by the fixtures below.

    Three classes that are easy to tell apart, twelve images each, and two of them in a wrong folder.
    """
    folder = tmp_path_factory.mktemp("template")
    data = make_dataset(folder / "data", classes=("amoeba", "ciliate", "diatom"), per_class=12, seed=3)
    for source, target in (("amoeba", "ciliate"), ("diatom", "amoeba")):
        file = sorted((data / source).iterdir())[0]
        file.rename(data / target / f"wrong_{source}.png")
    project = Project.create(data, folder / "project")
    project.scan()
    shutil.copytree(project.path, folder / "scanned")
    with pytest.MonkeyPatch.context() as patch:
        fast = with_fakes(fast_plugins, patch)
        assert not project.train(Choices(pairs=3, **fast)).failed
    shutil.copytree(project.path, folder / "trained")
    return folder


@pytest.fixture
def dataset(template: Path, tmp_path: Path) -> Path:
    """The template's dataset, at tmp_path/data."""
    return shutil.copytree(template / "data", tmp_path / "data")


@pytest.fixture
def project(template: Path, dataset: Path, tmp_path: Path) -> Project:
    """The project of `dataset`, scanned, at tmp_path/project."""
    return moved_project(template / "scanned", tmp_path / "project", (template, tmp_path))


@pytest.fixture
def trained(template: Path, project: Project, fast: dict[str, str], tmp_path: Path) -> Project:
    """The same, with a round of three pairs of the fakes."""
    shutil.rmtree(project.path)
    return moved_project(template / "trained", project.path, (template, tmp_path))
