"""The review page in a browser: the grid."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.pictures.page.reviewing import Review, Reviewing, numbered

pytestmark = pytest.mark.browser

PAIRS = {
    **numbered("amoeba", "ciliate", 2),
    **numbered("copepod", "diatom", 9),
    **numbered("diatom", "amoeba", 3),
}
"""Images 0 and 1, 2 to 10, and 11 to 13."""
COPEPODS = [f"copepod/{number:04d}.png" for number in range(9)]


@pytest.fixture
def at(review: Review) -> Reviewing:
    at = review(PAIRS)
    at.press("g")
    at.filter(group="copepod → diatom (9)")
    expect(at.cells).to_have_count(9)
    return at


def numbers(at: Reviewing) -> list[int]:
    return [int(cell.get_attribute("data-number") or -1) for cell in at.chosen.all()]


def test_selection_by_click_shift_frame_and_keys(at: Reviewing) -> None:
    at.cells.nth(1).click()
    at.cells.nth(3).click()
    assert numbers(at) == [3, 5]
    at.cells.nth(5).click(modifiers=["Shift"])
    assert numbers(at) == [3, 5, 6, 7]
    at.cells.nth(4).click()  # left out
    assert numbers(at) == [3, 5, 7]
    at.press("Escape")
    expect(at.chosen).to_have_count(0)
    first, third = at.cells.nth(0).bounding_box(), at.cells.nth(2).bounding_box()
    assert first
    assert third
    mouse = at.page.mouse
    mouse.move(first["x"] + 10, first["y"] + 10)
    mouse.down()
    mouse.move(third["x"] + 20, third["y"] + 20, steps=4)
    expect(at.page.locator(".band")).to_be_visible()
    mouse.up()
    expect(at.page.locator(".band")).to_have_count(0)
    assert numbers(at) == [2, 3, 4]
    at.press("x")
    at.says("3 images: thrown out. z takes it back.")
    at.press("ArrowRight", "Space", "ArrowDown", "Space")  # below the second image: the eighth or so
    assert numbers(at)[0] == 3
    assert len(numbers(at)) == 2
    at.press("Escape", "Control+a")
    expect(at.chosen).to_have_count(9)
    at.press("Escape")
    at.on_disk(dict.fromkeys(COPEPODS[:3], ("expunge", "copepod")))


def test_whole_page_is_decided_with_a_second_key_only(at: Reviewing) -> None:
    at.press("r")
    expect(at.asking).to_contain_text("9 images: label right, copepod? Enter yes, Esc no.")
    expect(at.chosen).to_have_count(9)
    at.press("Escape")
    expect(at.asking).to_be_hidden()
    expect(at.chosen).to_have_count(0)
    at.press("Enter")  # nothing is asked: it shows the image large
    at.shows(2)
    at.press("g", "r", "a")
    expect(at.asking).to_contain_text("9 images: suggestion right, diatom?")
    assert at.verdicts() == {}
    for exception in (0, 4):
        at.cells.nth(exception).click()
    expect(at.asking).to_contain_text("7 images: suggestion right")
    at.press("Enter")
    at.says("7 images: suggestion right. z takes it back.")
    expect(at.asking).to_be_hidden()
    done = [path for i, path in enumerate(COPEPODS) if i not in (0, 4)]
    at.on_disk(dict.fromkeys(done, ("relabel", "diatom")))
    # What is left of the page is asked for; when it is done, the next pair comes.
    at.press("u")
    expect(at.asking).to_contain_text("2 images: unsure?")
    at.press("Enter")
    expect(at.page.locator("#grid-given")).to_have_text("diatom")
    expect(at.cells).to_have_count(3)
    at.press("z", "z")
    expect(at.page.locator("#grid-given")).to_have_text("copepod")
    expect(at.cells).to_have_count(9)
    at.on_disk({})


def test_another_class_for_the_page_and_for_a_selection(at: Reviewing) -> None:
    at.press("c")
    at.type("cil")
    at.press("Enter")
    expect(at.asking).to_contain_text("9 images: move to ciliate?")
    at.press("Escape")
    at.cells.nth(2).click()
    at.cells.nth(6).click()
    at.press("1")
    at.says("2 images: moved to ciliate.")
    at.cells.nth(0).click()
    at.press("c")
    at.type("copep")
    at.press("Enter")  # the class that it is in: its label is right
    at.says("label right")
    at.on_disk(
        {
            COPEPODS[0]: ("correct", "copepod"),
            COPEPODS[2]: ("relabel", "ciliate"),
            COPEPODS[6]: ("relabel", "ciliate"),
        }
    )


def test_pairs_in_order_of_size_pages_and_double_click(at: Reviewing) -> None:
    expect(at.page.locator("#groups button")).to_have_text(
        ["copepod → diatom9", "diatom → amoeba3", "amoeba → ciliate2"]
    )
    at.press("]")
    expect(at.page.locator("#grid-given")).to_have_text("diatom")
    at.button("amoeba → ciliate").click()
    expect(at.cells).to_have_count(2)
    at.press("[", "[")
    at.page.get_by_label("Size").fill("320")
    expect(at.page.locator("#page-of")).to_contain_text("9 images, page 1 of")
    shown = at.cells.count()
    assert 0 < shown < 9
    at.press("PageDown")
    expect(at.cells.first).to_have_attribute("data-number", str(2 + shown))
    at.press("PageUp")
    expect(at.cells.first).to_have_attribute("data-number", "2")
    at.button("Next page").click()
    at.press("x", "Enter")  # a page: the next that is open comes
    at.on_disk(dict.fromkeys(COPEPODS[shown : 2 * shown], ("expunge", "copepod")))
    at.filter(kind="thrown out")
    expect(at.page.locator("#page-of")).to_contain_text(f"{len(at.verdicts())} images")
    at.cells.first.dblclick()
    at.shows(2 + shown)
    expect(at.question.locator(".verdict")).to_have_text("thrown out")


def test_all_done_in_the_grid_comes_to_the_end(at: Reviewing) -> None:
    for given in ("copepod", "diatom", "amoeba"):
        expect(at.page.locator("#grid-given")).to_have_text(given)
        at.press("r", "Enter")
    expect(at.end).to_contain_text("All 14 images are decided.")
    at.on_disk({path: ("correct", path.split("/")[0]) for path in PAIRS})
    at.press("g")
    at.shows(0)


def test_large_images_come_small_and_whole(review: Review) -> None:
    at = review(numbered("copepod", "diatom", 2), made={"size": (90, 900)})
    at.shows(0)
    at.press("g")
    natural, shown = "image => [image.naturalWidth, image.naturalHeight]", at.cells.first.locator("img")
    expect(shown).to_be_visible()
    at.page.wait_for_function("() => document.querySelector('.cell img').complete")
    assert shown.evaluate(natural) == [64, 640]
    cell, image = at.cells.first.bounding_box(), shown.bounding_box()
    assert cell
    assert image
    assert cell["y"] <= image["y"]
    assert image["y"] + image["height"] <= cell["y"] + cell["height"]
    at.press("g")
    assert at.page.locator("#frame img").evaluate(natural) == [90, 900]
    at.on_disk({})


def test_a_pair_chosen_on_the_left_is_named_on_the_buttons(at: Reviewing) -> None:
    at.page.locator("#groups").get_by_role("button", name="diatom → amoeba").click()
    expect(at.cells).to_have_count(3)
    expect(at.page.locator("#decide-right")).to_contain_text("diatom")
    expect(at.page.locator("#decide-suggested")).to_contain_text("amoeba")
    expect(at.page.locator("#filter-group option:checked")).to_have_text("diatom → amoeba (3)")
