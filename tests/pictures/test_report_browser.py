"""The report in a browser: list, filters, keys, address, and names that are markup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import HOSTILE, SMALL, WIDE
from tests.pictures.reports import made_up, written
from tests.support import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SUSPECTS = 5000
LABELS = [f"class_{number:03}" for number in range(121)]
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of 5,000 suspects and 121 classes."""
    folder = tmp_path_factory.mktemp("report")
    return written(folder, made_up(folder, suspects=SUSPECTS, labels=LABELS)).as_uri()


def ranks(page: Page) -> list[int]:
    """Of the cards in the page, in order."""
    found = page.locator(".card").evaluate_all(
        "all => all.map(one => [one.getAttribute('aria-posinset'), one.querySelector('.rank').textContent.slice(1)])"
    )
    return [int(rank.replace(",", "")) for _, rank in sorted(found, key=lambda one: int(one[0]))]


def left(page: Page) -> str:
    return page.locator("#left").inner_text()


def current(page: Page) -> str:
    return page.locator(".card.current .rank").inner_text()


def test_only_what_can_be_seen_is_in_the_page(large: str, open_page: Open) -> None:
    page = open_page(large)
    assert left(page) == "5,000 suspects"
    assert ranks(page)[:3] == [1, 2, 3]
    assert len(ranks(page)) < 30
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector("[aria-posinset='5000']")
    assert len(ranks(page)) < 30
    assert ranks(page)[-1] == SUSPECTS
    # Its picture, which is in the last block, is decoded and as large as there is room.
    image = page.locator("[aria-posinset='5000'] .own img")
    until(lambda: image.evaluate("one => one.naturalWidth"))
    box = image.bounding_box()
    assert box
    assert max(box["width"], box["height"]) == pytest.approx(216, abs=1)


def test_filters_leave_what_they_say(large: str, open_page: Open) -> None:
    page = open_page(large)
    page.fill("#given", "class_007")
    assert left(page) == "42 of 5,000 suspects"
    assert set(page.locator(".class.given .name").all_inner_texts()) == {"class_007"}
    page.fill("#suggested", "class_050")
    assert left(page) == "42 of 5,000 suspects"  # 7 times 7 and 1: it goes with no other
    page.fill("#suggested", "class_051")
    assert left(page) == "0 of 5,000 suspects"
    assert not ranks(page)
    page.click("#clear")
    assert left(page) == "5,000 suspects"
    page.fill("#low", "10")
    assert left(page) == "500 of 5,000 suspects"
    page.select_option("#verdict", "correct")
    assert left(page) == "100 of 5,000 suspects"
    page.fill("#text", "0001.png")
    assert left(page) == "1 of 5,000 suspects"
    assert ranks(page) == [2]
    assert page.locator(".card .verdict").inner_text() == "label right"
    assert page.locator(".card .path").inner_text() == "0001.png"


def test_every_kind_of_verdict_has_its_words(large: str, open_page: Open) -> None:
    page = open_page(large)
    words = page.locator(".card header .verdict").all_inner_texts()
    assert words[:5] == ["open", "label right", "suggestion right", "thrown out", "disputed"]
    options = page.locator("#verdict option").all_inner_texts()
    assert options == ["any (5,000)", "open (1,000)", "decided (3,000)", "label right (1,000)",
                       "suggestion right (1,000)", "thrown out (1,000)", "unsure (1,000)"]  # fmt: skip


@pytest.mark.parametrize("viewport", [SMALL, WIDE])
def test_keys_go_through_the_list(large: str, open_page: Open, viewport: tuple[int, int]) -> None:
    page = open_page(large, viewport=viewport)
    columns = 2 if viewport == SMALL else 3
    assert current(page) == "#1"
    for key, expected in (
        ("j", 2), ("ArrowRight", 3), ("k", 2), ("ArrowLeft", 1), ("ArrowDown", 1 + columns), ("ArrowUp", 1),
        ("End", SUSPECTS), ("j", SUSPECTS), ("Home", 1), ("k", 1),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert current(page) == f"#{expected:,}"
    page.keyboard.press("PageDown")
    moved = int(current(page)[1:])
    assert moved > 1
    assert (moved - 1) % columns == 0
    card = page.locator(".card.current").bounding_box()
    head = page.locator(".top").bounding_box()
    assert card
    assert head
    assert head["height"] <= card["y"]
    assert card["y"] + card["height"] <= viewport[1]
    page.keyboard.press("PageUp")
    assert current(page) == "#1"


def test_keys_open_search_help_and_views(large: str, open_page: Open) -> None:
    page = open_page(large)
    page.keyboard.press("/")
    page.keyboard.type("class_003 0003")  # digits and j go into the field
    assert left(page) == "2 of 5,000 suspects"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert left(page) == "5,000 suspects"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    for number, view in enumerate(("suspects", "confusion", "classes", "review", "about"), 1):
        page.keyboard.press(str(number))
        assert page.locator(f"#view-{view}").is_visible()
        assert page.locator(f"#tab-{view}").get_attribute("aria-selected") == "true"
        assert page.locator("main > section:visible").count() == 1


def test_a_view_can_be_sent_to_a_colleague(large: str, open_page: Open) -> None:
    page = open_page(large)
    page.fill("#given", "class_007")
    page.select_option("#verdict", "open")
    page.check("#scale")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    until(lambda: "at=2" in page.evaluate("location.hash"))
    here = left(page), current(page)
    other = open_page(page.url)
    assert (left(other), current(other)) == here
    assert other.input_value("#given") == "class_007"
    assert other.is_checked("#scale")
    # And by hand, while it is open.
    other.evaluate("location.hash = '#view=classes'")
    other.wait_for_selector("#view-classes:visible")


def test_the_address_may_hold_anything(large: str, open_page: Open) -> None:
    page = open_page(
        f"{large}#view=nowhere&low=-3&high=x&verdict=__proto__&at=99999999&given=%3Cimg%20src%3Dx%3E"
    )
    assert left(page) == "0 of 5,000 suspects"
    page.click("#clear")
    assert left(page) == "5,000 suspects"


def test_a_cell_of_the_heat_map_shows_its_suspects(large: str, open_page: Open) -> None:
    page = open_page(f"{large}#view=confusion", viewport=WIDE)
    page.check("#all-classes")
    page.select_option("#order", "name")
    cells = page.locator(".heatmap .cells")
    size = cells.evaluate("one => one.clientWidth") / 121
    assert size >= 13  # every class has a line that a name fits on
    place = {"x": 50.5 * size, "y": 7.5 * size}
    cells.hover(position=place)
    assert "class_007 taken for class_050" in page.locator(".readout").inner_text()
    assert "42 suspects" in page.locator(".readout").inner_text()
    cells.click(position=place)
    assert left(page) == "42 of 5,000 suspects"
    assert page.input_value("#suggested") == "class_050"


def test_the_heat_map_is_read_with_the_keyboard_too(large: str, open_page: Open) -> None:
    page = open_page(f"{large}#view=confusion")
    page.select_option("#order", "name")
    page.focus(".heatmap .cells")
    page.keyboard.press("ArrowDown")
    first = page.locator(".readout").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".readout").inner_text() != first
    assert "recognised" in first


def test_tables_sort(large: str, open_page: Open) -> None:
    page = open_page(f"{large}#view=classes")
    page.get_by_role("button", name="class", exact=True).click()
    names = page.locator("#view-classes tbody tr td:first-child").all_inner_texts()
    assert names == LABELS
    page.get_by_role("button", name="class", exact=True).click()
    assert page.locator("#view-classes tbody tr td:first-child").first.inner_text() == LABELS[-1]


@pytest.mark.parametrize("dark", [False, True])
def test_names_that_are_markup_do_nothing(open_page: Open, tmp_path: Path, dark: bool) -> None:
    labels = [*HOSTILE, "</script><script>hacked()</script>", "a\u2028b", "\\xff"]
    values = made_up(tmp_path, suspects=2 * len(labels), labels=labels, images=40)
    page = open_page(written(tmp_path, values).as_uri(), dark=dark)
    assert page.locator(".card").count() > 3
    assert labels[0] in page.locator(".class .name").all_inner_texts()
    for number in range(2, 6):
        page.keyboard.press(str(number))
    page.locator("#tab-confusion").click()
    page.locator(".heatmap .cells").hover(position={"x": 30, "y": 60})
    page.fill("#text", "", force=True)
    # Only the page's own: nothing was made of a name.
    assert page.locator("script").count() == 3
    assert page.locator("main img:not([src^='data:image/webp;base64,'])").count() == 0


@pytest.mark.parametrize(("suspects", "classes"), [(0, 3), (1, 1), (1, 2)])
def test_little_is_enough(open_page: Open, tmp_path: Path, suspects: int, classes: int) -> None:
    values = made_up(tmp_path, suspects=suspects, labels=LABELS[:classes], images=12)
    page = open_page(written(tmp_path, values).as_uri())
    assert left(page) == ("1 suspect" if suspects else "0 suspects")
    for number in (2, 3, 4, 5, 1):
        page.keyboard.press(str(number))
    page.keyboard.press("j")
    page.keyboard.press("PageDown")
    assert page.locator(".card").count() == suspects


def test_without_suspects_no_filter_is_blamed(open_page: Open, tmp_path: Path) -> None:
    page = open_page(written(tmp_path, made_up(tmp_path, suspects=0, labels=LABELS[:3], images=12)).as_uri())
    said = page.locator("#list").evaluate("one => getComputedStyle(one, '::before').content")
    assert said == '"No image is a suspect."'


@pytest.mark.parametrize(("near", "words"), [(1, "1 class marked"), (2, "2 classes marked")])
def test_classes_that_cannot_be_judged_are_counted(
    open_page: Open, tmp_path: Path, near: int, words: str
) -> None:
    values = made_up(tmp_path, suspects=3, labels=LABELS[:3], images=12)
    rows = [replace(one, near_chance=at < near) for at, one in enumerate(values.classes)]
    page = open_page(written(tmp_path, replace(values, classes=rows)).as_uri())
    page.click("#tab-classes")
    assert words in page.locator("#view-classes").inner_text()


def test_a_missing_image_says_why(open_page: Open, tmp_path: Path) -> None:
    values = made_up(tmp_path, suspects=3, labels=LABELS[:3], images=12)
    (tmp_path / "0000.png").unlink()
    page = open_page(written(tmp_path, values).as_uri())
    assert page.locator(".card").first.locator(".own").inner_text() == "The file is gone."
