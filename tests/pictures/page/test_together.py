"""The review page in a browser beside others: a second page, the file manager, a server that ends, a tree that goes away."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.pictures.page.reviewing import Review, Reviewing, make_tree, numbered
from tests.pictures.page.serving import served

pytestmark = pytest.mark.browser

FIVE = numbered("copepod", "diatom", 5)
GONE = r"ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|ERR_INTERNET|status of 404"


@contextmanager
def started(tree: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`dupekit review`, and the page's address that it prints."""
    command = [sys.executable, "-m", "dupekit", "review", str(tree), "--no-open", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process, next(line.strip() for line in process.stdout if line.startswith("http"))
    finally:
        process.kill()
        process.communicate()


def test_resumes_after_the_server_was_killed_and_started_again(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    tree = make_tree(tmp_path, FIVE)
    with started(tree) as (process, address):
        at = Reviewing(tree, open_page(address, expected=GONE))
        at.press("r", "x")
        at.on_disk({"copepod/0000.png": ("correct", "copepod"), "copepod/0001.png": ("expunge", "copepod")})
        process.send_signal(signal.SIGKILL)
        process.wait()
    expect(at.banner).to_contain_text("dupekit does not answer.")
    at.press("u")
    expect(at.banner).to_contain_text("1 decision made here is kept on this page")
    at.shows(3)
    with started(tree, port=int(re.findall(r":(\d+)/", address)[0])) as (_, again):
        expect(at.banner).to_contain_text("This page is out of date: open the new address")
        expect(at.banner).to_contain_text("1 decision made here could not be saved.")
        new = Reviewing(tree, open_page(again, expected=GONE))
        new.shows(2)
        expect(new.page.locator("#position")).to_have_text("3 of 5, 2 decided")
        new.press("a")
        new.on_disk(
            {
                "copepod/0000.png": ("correct", "copepod"),
                "copepod/0001.png": ("expunge", "copepod"),
                "copepod/0002.png": ("relabel", "diatom"),
            }
        )


def test_decisions_wait_while_the_network_is_away(review: Review) -> None:
    at = review(FIVE, expected=GONE)
    at.shows(0)
    at.page.context.set_offline(True)
    at.press("r", "u", "z", "x")
    expect(at.banner).to_contain_text("4 decisions made here are kept")
    at.shows(2)
    assert at.verdicts() == {}
    at.page.context.set_offline(False)
    expect(at.banner).to_be_hidden()
    at.on_disk({"copepod/0000.png": ("correct", "copepod"), "copepod/0001.png": ("expunge", "copepod")})


def test_second_page_follows_and_is_not_overruled(review: Review, open_page: Callable[..., Page]) -> None:
    at = review(FIVE)
    beside = Reviewing(at.tree, open_page(at.page.url))
    at.press("r")
    beside.says("Somebody else: image 1, label right.")
    expect(beside.question.locator(".verdict")).to_have_text("label right")
    beside.press("n")
    beside.shows(1)
    # A page that did not hear of it is told, and does not overwrite.
    deaf = open_page(at.page.url)
    deaf.route("**/events*", lambda route: None)
    deaf.reload()
    late = Reviewing(at.tree, deaf)
    late.shows(1)
    at.press("x")
    beside.says("Somebody else: image 2, thrown out.")
    late.press("a")
    late.says("Image 2 was not changed: ")
    late.says("Somebody else changed it meanwhile. It is now: thrown out.")
    late.press("ArrowLeft")
    expect(late.question.locator(".verdict")).to_have_text("thrown out")
    # Both undo their own; at the end, what is open again comes back.
    beside.press("z")
    beside.says("There is nothing more to take back.")
    beside.press("n", "a", "a", "a")
    expect(beside.end).to_contain_text("You can close this page.")
    at.press("z")
    beside.shows(1)
    at.on_disk(
        {
            "copepod/0000.png": ("correct", "copepod"),
            **{f"copepod/000{number}.png": ("relabel", "diatom") for number in (2, 3, 4)},
        }
    )


def test_what_was_decided_so_already_is_not_said_to_be_taken_back(
    review: Review, open_page: Callable[..., Page]
) -> None:
    at = review(FIVE)
    deaf = open_page(at.page.url)
    deaf.route("**/events*", lambda route: None)
    deaf.reload()
    late = Reviewing(at.tree, deaf)
    late.shows(0)
    at.press("x")
    at.on_disk({"copepod/0000.png": ("expunge", "copepod")})
    late.press("x", "z")
    late.says("Image 1 was not taken back: decided so already, before you did.")
    expect(late.question.locator(".verdict")).to_have_text("thrown out")
    at.on_disk({"copepod/0000.png": ("expunge", "copepod")})


def test_what_somebody_else_decides_is_not_chosen_any_more(
    review: Review, open_page: Callable[..., Page]
) -> None:
    at = review(FIVE)
    beside = Reviewing(at.tree, open_page(at.page.url))
    at.press("g", "r")
    expect(at.asking).to_contain_text("5 images: label right")
    beside.press("x")
    expect(at.asking).to_contain_text("4 images: label right")
    at.press("Enter")
    expect(at.end).to_be_visible()
    at.on_disk(
        {
            "copepod/0000.png": ("expunge", "copepod"),
            **{f"copepod/000{number}.png": ("correct", "copepod") for number in range(1, 5)},
        }
    )


def test_page_follows_the_file_manager(review: Review) -> None:
    at = review(FIVE)
    at.shows(0)
    file = at.tree / "copepod" / "diatom_09_0000.png"
    content = file.read_bytes()
    file.unlink()
    expect(at.page.locator("#away")).to_have_text("Deleted in the file manager: label right.")
    at.says("Deleted in the file manager: image 1, label right.")
    at.press("x")
    at.says("This image was deleted in the file manager.")
    (at.tree / "copepod" / "diatom_09_0001.png").rename(at.tree / "amoeba" / "diatom_09_0001.png")
    at.says("Somebody else: image 2, moved to amoeba.")
    at.press("n", "g")
    expect(at.cells).to_have_count(3)
    (at.tree / "copepod" / "diatom_09_0003.png").unlink()
    expect(at.cells.nth(1).locator(".verdict")).to_have_text("label right, deleted in the file manager")
    expect(at.cells.nth(1).locator("img")).to_have_count(0)
    # Out of the trash again: it can be seen again.
    at.filter(kind="label right")
    expect(at.cells).to_have_count(2)
    file.write_bytes(content)
    at.says("Somebody else: image 1, open.")
    expect(at.cells.first.locator("img")).to_be_visible()
    at.filter(kind="open")
    expect(at.cells).to_have_count(3)
    at.cells.first.click()
    at.press("r")
    at.press("u", "Enter")
    expect(at.end).to_be_visible()
    at.on_disk(
        {
            "copepod/0000.png": ("correct", "copepod"),
            "copepod/0001.png": ("relabel", "amoeba"),
            "copepod/0002.png": ("unsure", "copepod"),
            "copepod/0003.png": ("correct", "copepod"),
            "copepod/0004.png": ("unsure", "copepod"),
        }
    )


def test_an_image_that_cannot_be_shown_is_said_so(
    servers: ExitStack, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    tree = make_tree(tmp_path, FIVE)
    file = tree / "copepod" / "diatom_09_0003.png"
    content = file.read_bytes()
    file.write_bytes(content[:40])
    page = servers.enter_context(served(tree))
    at = Reviewing(tree, open_page(page.server.address, expected="status of 4"))
    at.shows(0)
    words = "This image cannot be shown. It may be damaged."
    at.press("ArrowRight", "ArrowRight", "ArrowRight")
    expect(at.page.locator("#away")).to_have_text(words)
    for hidden in ("#frame", "#scale"):
        expect(at.page.locator(hidden)).to_be_hidden()
    at.press("g")
    expect(at.cells.nth(3)).to_contain_text(words)
    expect(at.cells.locator("img")).to_have_count(4)
    at.press("g", "ArrowRight")
    at.shows(4)
    expect(at.page.locator("#away")).to_be_hidden()
    expect(at.page.locator("#scale")).to_be_visible()
    # It can be decided on, and is shown once it can be.
    at.press("ArrowLeft", "x")
    at.on_disk({"copepod/0003.png": ("expunge", "copepod")})
    (at.tree / "_expunge" / "copepod" / file.name).write_bytes(content)
    at.press("z", "ArrowLeft")
    at.shows(2)
    at.press("ArrowRight")
    at.shows(3)
    at.on_disk({})


def test_decisions_wait_while_the_tree_is_away(review: Review, tmp_path: Path) -> None:
    at = review(FIVE, served={"poll_s": 0.2}, expected="status of 404")
    at.shows(0)
    away = at.tree.rename(tmp_path / "away")
    expect(at.banner).to_contain_text("Nothing is taken as deleted.")
    at.press("r")
    expect(at.banner).to_contain_text("1 decision made here waits on this page until then.")
    away.rename(at.tree)
    expect(at.banner).to_be_hidden(timeout=30_000)
    at.on_disk({"copepod/0000.png": ("correct", "copepod")})
