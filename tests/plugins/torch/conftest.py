from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.torch.support import Dataset, Weights, make


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other at every step of a tiny network are ten times as slow beside other tests."""
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """So many that a network learns them."""
    return make(tmp_path_factory.mktemp("grey"), per_class=40)


@pytest.fixture
def few(tmp_path: Path) -> Dataset:
    return make(tmp_path, per_class=4)


@pytest.fixture
def weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are no networks that could be run, but the weights of one: `same_weights` compares them."""
    monkeypatch.setattr("dupekit_torch.shared.Exporter", Weights)
