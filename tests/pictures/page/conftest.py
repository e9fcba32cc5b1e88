from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.pictures.page.serving import Served, make_tree, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.pictures.page.reviewing import Review, Reviewing


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


@pytest.fixture
def page(tree: Path) -> Iterator[Served]:
    with served(tree) as page:
        yield page


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def review(servers: ExitStack, open_page: Callable[..., Page], tmp_path: Path) -> Review:
    """The servers outlive the pages, which would complain."""
    from tests.pictures.page import reviewing, serving

    def review(
        suggested: Mapping[str, str],
        *,
        made: Mapping[str, Any] = {},
        served: Mapping[str, Any] = {},
        **opened: Any,
    ) -> Reviewing:
        tree = reviewing.make_tree(tmp_path, suggested, **made)
        page = servers.enter_context(serving.served(tree, **served))
        return reviewing.Reviewing(tree, open_page(page.server.address, **opened))

    return review
