"""A real browser for tests: the system's chromium, without a window, and what a page must not do while a test looks at it.

`open_page(address, ...)` opens a page in a context of its own, as if by another person; the test fails at its end if the
page wrote an error to the console, threw, or asked for anything from elsewhere than where it lies itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

WIDE, LAPTOP, SMALL = (1920, 1080), (1366, 768), (1280, 720)
"""Sizes of a window, in pixels."""

TIMEOUT_S = 30
"""For what a page must come to: a shared machine is sometimes slow."""

WITHIN = ("data", "blob", "about")
"""Addresses that hold what they name: nothing is fetched."""

HOSTILE = (
    "<img src=x onerror=hacked()>",
    '"><svg onload=hacked()>',
    "' onmouseover='hacked()",
    "javascript:hacked()",
    "{{ 7 * 7 }} ${7*7} <%= 7 %>",
    "&lt;b&gt; &amp; %3Cb%3E",
    "]]> <!-- --> \\u003cb\\u003e",
    "\u202egnp.eman <b>",
    "x<",  # with the next, as folders: x</script><script>hacked()<
    "script><script>hacked()<",
    "__proto__",
    "constructor",
)
"""Names of files and folders that are markup, or else do harm where a page forgets that a name is text. `hacked` is defined
nowhere: a call of it ends in an error, which fails the test, as does what a page's policy refuses."""


def chromium() -> str | None:
    """The path of the system's chromium, or of what `DUPEKIT_CHROMIUM` names."""
    names = (os.environ.get("DUPEKIT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def launched(playwright: Playwright) -> Browser:
    """Finds no name but this machine's, so that nothing can leave it."""
    return playwright.chromium.launch(
        executable_path=chromium(),
        args=[
            "--no-sandbox",  # which needs more than a container has, and root has none; it sees our own pages only
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            "--force-color-profile=srgb",
        ],
    )


def context(
    browser: Browser, viewport: tuple[int, int], *, dark: bool = False, scale: float = 1
) -> BrowserContext:
    """A browser's window as of another person."""
    made = browser.new_context(
        viewport={"width": viewport[0], "height": viewport[1]},
        color_scheme="dark" if dark else "light",
        device_scale_factor=scale,
    )
    made.set_default_timeout(TIMEOUT_S * 1000)
    return made


class Watched:
    """What a page did that it must not do."""

    def __init__(self, page: Page, address: str, expected: str | None) -> None:
        self.page = page
        self.wrong: list[str] = []
        self._origin = _origin(address)
        self._expected = expected
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._note(True, f"exception: {error}"))
        page.on("request", lambda request: self._note(self._elsewhere(request.url), f"asks: {request.url}"))

    def _hear(self, message: ConsoleMessage) -> None:
        self._note(message.type == "error", f"console: {message.text} ({message.location['url']})")

    def _note(self, wrong: bool, what: str) -> None:
        if wrong and not (self._expected and re.search(self._expected, what)):
            self.wrong.append(what)

    def _elsewhere(self, address: str) -> bool:
        return urlsplit(address).scheme not in WITHIN and _origin(address) != self._origin


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For a module, not for all: its loop counts as running in this thread, where others may want one of their own."""
    pytest.importorskip("playwright", reason="Playwright is not installed: pip install -e '.[test]'")
    if chromium() is None:
        pytest.skip("no chromium on this machine: install it, or name it in DUPEKIT_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = launched(playwright)
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page: `open_page(address, viewport=LAPTOP, dark=False, expected=None)`. `expected`: a pattern of what it may do
    that is else an error, such as "ERR_CONNECTION_REFUSED" where the test ends the server."""
    opened: list[Watched] = []

    def open_page(
        address: str, *, viewport: tuple[int, int] = LAPTOP, dark: bool = False, expected: str | None = None
    ) -> Page:
        page = context(browser, viewport, dark=dark).new_page()
        opened.append(Watched(page, address, expected))
        page.goto(address)
        return page

    yield open_page
    for watched in opened:
        if not watched.page.is_closed():
            watched.page.evaluate("0")  # what it has told until now is heard first
        watched.page.context.close()
    if wrong := [what for watched in opened for what in watched.wrong]:
        pytest.fail("The page did what it must not:\n" + "\n".join(wrong), pytrace=False)
