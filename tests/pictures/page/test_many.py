"""The review page in a browser with many images: what comes next is fetched before a key is pressed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.pictures.page.reviewing import Review

pytestmark = pytest.mark.browser


def test_next_image_of_5000_is_there_at_once(review: Review) -> None:
    given = [f"class {number % 121}" for number in range(5000)]
    suggested = [f"class {(number * 7 + number // 121) % 121}" for number in range(5000)]
    images = {f"{given[i]}/{i}.png": suggested[i] for i in range(5000)}
    at = review(images, made={"classes": ()})
    at.shows(0)
    asked: set[str] = set()
    at.page.on("request", lambda request: asked.add(request.url))
    for count, key in enumerate("ruxu" * 5, 1):
        before = set(asked)
        at.press(key)
        at.shows(count)
        shown = at.page.locator("#frame img").evaluate("image => image.src")
        # The first of them were asked for before anybody listened. How long it takes, benchmarks/pages.py measures.
        assert count <= 5 or shown in before
    expect(at.page.locator("#position")).to_have_text("21 of 5,000, 20 decided")
    # The grid makes only what fits on a page.
    at.press("g")
    expect(at.cells.first).to_be_visible()
    assert at.cells.count() < 100
    at.press("]", "x", "Enter")
    at.says("thrown out. z takes it back.")
    at.press("z", "z", "z", "z")
    expect(at.page.locator("#position")).to_have_text("17 of 5,000 decided")
    verdict = {"r": "correct", "u": "unsure", "x": "expunge"}
    at.on_disk({path: (verdict["ruxu"[i % 4]], given[i]) for i, path in enumerate(list(images)[:17])})
