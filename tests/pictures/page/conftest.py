from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Error, sync_playwright

from tests.pictures.page.reviewing import Open, Reviewing, make_tree, reviewing, served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"chromium does not start: {error}")
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(
            suggested: Mapping[str, str], *, made: Mapping[str, Any] = {}, **options: Any
        ) -> Reviewing:
            tree = make_tree(tmp_path, suggested, **made)
            address = stack.enter_context(served(tree))
            return stack.enter_context(reviewing(browser, tree, address, **options))

        yield open_one
