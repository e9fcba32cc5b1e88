from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pictures.page.serving import Served, make_tree, served


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


@pytest.fixture
def page(tree: Path) -> Iterator[Served]:
    with served(tree) as page:
        yield page
