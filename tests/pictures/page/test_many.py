"""The review page in a browser with many images: what comes next is there when a key is pressed."""

from __future__ import annotations

import statistics

import pytest
from playwright.sync_api import expect

from tests.pictures.page.reviewing import Review

pytestmark = pytest.mark.browser

GOAL_MS = 50

# From a key to the frame in which the next image was painted, by the browser's clock.
WATCH = """() => {
  const frame = document.getElementById("frame");
  window.shown = [];
  let pressed = null;
  addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
  new MutationObserver(async () => {
    const began = pressed;
    await frame.querySelector("img").decode();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.shown.push(performance.now() - began);
      channel.port2.postMessage(null);
    });
  }).observe(frame, { childList: true });
}"""


def test_next_image_of_5000_is_there_at_once(review: Review) -> None:
    given = [f"class {number % 121}" for number in range(5000)]
    suggested = [f"class {(number * 7 + number // 121) % 121}" for number in range(5000)]
    images = {f"{given[i]}/{i}.png": suggested[i] for i in range(5000)}
    at = review(images, made={"classes": ()})
    at.shows(0)
    at.page.evaluate(WATCH)
    for count, key in enumerate("ruxu" * 5, 1):
        at.press(key)
        at.page.wait_for_function("count => window.shown.length === count", arg=count)
    assert statistics.median(at.page.evaluate("window.shown")) < GOAL_MS
    at.shows(20)
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
