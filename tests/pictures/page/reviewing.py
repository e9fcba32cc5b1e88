"""A review tree, the page of it, and what lies on disk: what the tests of the page in a browser share."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from dupekit.files.write import digest_file
from dupekit.pictures.page.serve import ReviewServer
from dupekit.review.style import PLAIN, Stratum, Style
from dupekit.review.verdicts import read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from tests.support import until

CLASSES = ("amoeba", "ciliate", "copepod", "diatom")


def make_tree(
    folder: Path,
    suggested: Mapping[str, str],
    *,
    classes: tuple[str, ...] = CLASSES,
    size: tuple[int, int] = (24, 16),
    style: Style = PLAIN,
    audit: bool = False,
) -> Path:
    """A portable tree: `suggested` names its images by their paths in the dataset, the most suspicious first."""
    suspects = []
    for number, (path, label) in enumerate(suggested.items()):
        file = folder / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", size, 40 + number % 160)
        image.putpixel((number % size[0], number // size[0] % size[1]), 255)
        image.putpixel((0, 0), number // 160 % 256)
        image.save(file)
        given = path.split("/")[0]
        suspects.append(Suspect(number, path, digest_file(file), given, label, 9, 1.0, 0.1, 0.9))
    drawn = {len(suspects) - 1: Stratum(0, 100)} if audit else None
    labels = {*classes, *(s.given for s in suspects), *suggested.values()}
    planned = plan_tree(
        suspects, sorted(labels), round_number=1, pairs=10, created="", style=style, drawn=drawn
    )
    write_tree(planned, folder / "data", folder / "tree", style=style)
    return folder / "tree"


def numbered(given: str, suggested: str, count: int) -> dict[str, str]:
    return {f"{given}/{number:04d}.png": suggested for number in range(count)}


@contextmanager
def served(tree: Path) -> Iterator[str]:
    """The page's address, as long as it is served from here."""
    server = ReviewServer(tree, tree_manifest(tree), tree / ".dupekit")
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    try:
        assert ready.wait(30)
        yield server.address
    finally:
        server.stop()
        thread.join()


@dataclass(frozen=True, eq=False)
class Reviewing:
    """The page of a tree in a browser."""

    tree: Path
    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    """What the browser's console said, and requests to elsewhere."""

    def verdicts(self) -> dict[str, tuple[str, str]]:
        """Of the tree on disk: path in the dataset -> verdict and label, without what is open."""
        review = read_tree(self.tree, tree_manifest(self.tree)).review
        assert not review.strangers
        return {
            v.file.original: (v.verdict.value, v.label) for v in review.verdicts if v.verdict.value != "open"
        }

    def on_disk(self, expected: Mapping[str, tuple[str, str]]) -> None:
        """Waits until the tree says so, and nothing else."""
        try:
            until(lambda: self.verdicts() == expected)
        except AssertionError:
            assert self.verdicts() == expected

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def shows(self, number: int) -> None:
        """Waits until the large image is that one, and can be seen."""
        image = self.page.locator(f'#frame img[data-number="{number}"]')
        expect(image).to_be_visible()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0

    def says(self, text: str | re.Pattern[str]) -> None:
        """Waits until the line at the bottom says so."""
        expect(self.page.locator("#status")).to_contain_text(text)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    @property
    def cells(self) -> Locator:
        return self.page.locator(".cell")

    @property
    def chosen(self) -> Locator:
        return self.page.locator('.cell[aria-selected="true"]')

    @property
    def asking(self) -> Locator:
        return self.page.locator("#asking")

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")


@contextmanager
def reviewing(
    browser: Browser,
    tree: Path,
    address: str,
    *,
    size: tuple[int, int] = (1366, 768),
    allowed: str | None = None,
    ready: str = "#question strong, #end:not([hidden])",
) -> Iterator[Reviewing]:
    """Opens the page. At the end: the console must have said nothing but what is `allowed`, and nothing was asked for elsewhere."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(10_000)
    with _closing(context):
        opened = Reviewing(tree, context.new_page(), address)
        _listen(opened, allowed)
        opened.page.goto(address)
        opened.page.locator(ready).first.wait_for()
        yield opened
        assert not opened.complaints


@contextmanager
def _closing(context: BrowserContext) -> Iterator[None]:
    try:
        yield
    finally:
        context.close()


def _listen(opened: Reviewing, allowed: str | None) -> None:
    def complain(what: str) -> None:
        if not (allowed and re.search(allowed, what)):
            opened.complaints.append(what)

    def asked(url: str) -> None:
        if not url.startswith((opened.address, "data:", "blob:")):
            complain(f"asked for {url}")

    opened.page.on("console", lambda message: complain(f"{message.type}: {message.text}"))
    opened.page.on("pageerror", lambda error: complain(f"error: {error}"))
    opened.page.on("request", lambda request: asked(request.url))
    opened.page.on("dialog", lambda dialog: complain(f"dialog: {dialog.message}"))


Open = Callable[..., Reviewing]
"""Makes a tree of (path -> suggested label), serves it, and opens its page; options as `make_tree` and `reviewing`."""
