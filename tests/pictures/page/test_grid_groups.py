"""The review page in a browser: the groups of the grid, by pair of classes, by what the models say, by what images are called now."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from playwright.sync_api import expect

from tests.pictures.page.reviewing import Review, Reviewing, numbered

pytestmark = pytest.mark.browser

SCATTERED = {
    **numbered("amoeba", "ciliate", 2),
    **numbered("copepod", "ciliate", 3),
    **numbered("diatom", "ciliate", 1),
    **numbered("ciliate", "diatom", 2),
    "copepod/9.png": "diatom",
}
"""Images 0 and 1, 2 to 4, 5; 6 and 7, 8."""
CALLED = ["amoeba"] * 2 + ["copepod"] * 3 + ["diatom"]
CILIATES = list(SCATTERED)[:6]


@pytest.fixture
def at(review: Review) -> Reviewing:
    at = review(SCATTERED)
    at.press("g")
    return at


def groups(at: Reviewing, names: Sequence[str], now: str) -> None:
    """The list at the left has these, and that one is looked at."""
    buttons = at.page.locator("#groups button")
    expect(buttons).to_have_text(names)
    expect(at.page.locator("#groups [aria-current]")).to_contain_text(now)


def under(at: Reviewing, labels: Sequence[str]) -> None:
    expect(at.cells.locator(".under")).to_have_text(labels)


def test_few_of_a_pair_are_grouped_by_what_the_models_say_and_b_changes_that(at: Reviewing) -> None:
    groups(at, ["ciliate6", "diatom3"], "ciliate")
    expect(at.page.locator("#grid-suggested")).to_have_text("ciliate")
    expect(at.page.locator("#sample-given")).to_be_hidden()
    under(at, CALLED)
    expect(at.group.locator("option:checked")).to_have_text("the models say ciliate (6)")
    expect(at.button("Suggestion right")).to_contain_text("ciliate")
    at.press("ArrowRight", "ArrowRight", "b")  # to where the third image lies
    groups(at, ["copepod4", "amoeba2", "ciliate2", "diatom1"], "copepod")
    expect(at.page.locator("#grid-given")).to_have_text("copepod")
    expect(at.page.locator("#sample-suggested")).to_be_hidden()
    under(at, ["ciliate"] * 3 + ["diatom"])
    expect(at.group.locator("option:checked")).to_have_text("now in copepod (4)")
    at.press("]")
    expect(at.group.locator("option:checked")).to_have_text("now in amoeba (2)")
    at.filter(group="now in diatom (1)")
    groups(at, ["copepod4", "amoeba2", "ciliate2", "diatom1"], "diatom")
    at.page.locator("#groups button", has_text="ciliate").click()
    expect(at.group.locator("option:checked")).to_have_text("now in ciliate (2)")
    expect(at.button("Label right")).to_contain_text("ciliate")
    at.press("b")
    expect(at.page.locator("#groups [aria-current]")).to_have_text("ciliate → diatom2")
    expect(at.cells).to_have_count(2)
    under(at, [])
    # The choice is kept when the page is loaded anew.
    at.button("Now in").click()
    at.page.reload()
    expect(at.question.locator("strong").first).to_have_text("amoeba")
    at.press("g")
    groups(at, ["copepod4", "amoeba2", "ciliate2", "diatom1"], "amoeba")
    at.on_disk({})


@pytest.mark.parametrize(("many", "usual"), [(6, "Pair"), (5, "Models say")])
def test_many_of_a_pair_are_grouped_by_pair(review: Review, many: int, usual: str) -> None:
    at = review(
        {**numbered("amoeba", "ciliate", many), **numbered("copepod", "ciliate", 5), "diatom/0.png": "amoeba"}
    )
    at.press("g")
    expect(at.button(usual)).to_have_attribute("aria-pressed", "true")
    at.on_disk({})


def test_each_image_gets_its_own_label_and_the_next_group_comes(at: Reviewing) -> None:
    at.press("r")
    expect(at.asking).to_contain_text("6 images: each is what it is called now? Enter yes, Esc no.")
    at.cells.nth(5).click()
    expect(at.asking).to_contain_text("5 images: each is what it is called now?")
    for copepod in (2, 3, 4):
        at.cells.nth(copepod).click()
    expect(at.asking).to_contain_text("2 images: label right, amoeba?")  # all that are left
    for copepod in (2, 3, 4):
        at.cells.nth(copepod).click()
    at.press("Enter")
    at.says("5 images: label right.")
    at.press("a")
    expect(at.asking).to_contain_text("1 image: suggestion right, ciliate?")
    at.press("Enter")
    expect(at.page.locator("#grid-suggested")).to_have_text("diatom")
    expect(at.page.locator("#groups button").first).to_have_text("ciliate✓")
    done = {path: ("correct", path.split("/")[0]) for path in CILIATES[:5]} | {
        CILIATES[5]: ("relabel", "ciliate")
    }
    at.on_disk(done)
    at.press("b", "]")  # of what is called so now, all of ciliate and one of copepod are open
    expect(at.page.locator("#grid-given")).to_have_text("copepod")
    under(at, ["diatom"])
    at.filter(kind="all images")
    at.press("a")
    expect(at.asking).to_contain_text("1 image: suggestion right, diatom?")
    at.press("Escape", "Control+a", "a")  # also those that were decided
    at.says("4 images: suggestion right.")
    expect(at.page.locator("#grid-given")).to_have_text("ciliate")
    others = dict.fromkeys(CILIATES[2:5], ("relabel", "ciliate")) | {"copepod/9.png": ("relabel", "diatom")}
    at.on_disk(done | others)
    at.press("z")
    expect(at.page.locator("#grid-given")).to_have_text("copepod")
    at.on_disk(done)
    at.filter(kind="open")
    at.page.locator("#groups button", has_text="amoeba").click()
    expect(at.page.locator("#cells")).to_have_text("Everything in this group is decided. n goes on.")
    at.press("n")
    expect(at.cells).to_have_count(2)


def test_suggestions_that_differ_are_each_accepted(at: Reviewing) -> None:
    at.filter(group="the models say diatom (3)")
    at.press("b")
    at.filter(group="now in copepod (4)")
    at.press("a")
    expect(at.asking).to_contain_text("4 images: each is what the models say? Enter yes, Esc no.")
    at.press("Enter")
    at.says("4 images: suggestion right. z takes it back.")
    own = {path: ("relabel", label) for path, label in SCATTERED.items() if path.startswith("copepod")}
    at.on_disk(own)
    at.press("z")
    at.on_disk({})


def test_another_class_for_images_some_of_which_are_in_it(at: Reviewing) -> None:
    at.press("c")
    at.type("copep")
    at.press("Enter")
    expect(at.asking).to_contain_text("6 images: move to copepod?")
    at.press("Enter")
    at.says("6 images: now copepod. z takes it back.")
    moved = dict.fromkeys((*CILIATES[:2], CILIATES[5]), ("relabel", "copepod"))
    at.on_disk(moved | dict.fromkeys(CILIATES[2:5], ("correct", "copepod")))
    at.filter(kind="label right")
    expect(at.cells).to_have_count(3)
    at.press("z")
    at.on_disk({})


def test_what_is_shown_goes_for_both_ways_of_working(at: Reviewing) -> None:
    at.cells.nth(0).click()
    at.press("u")
    at.cells.nth(3).click()
    at.press("u", "ArrowRight", "g")
    at.shows(1)
    at.filter(kind="unsure")
    at.shows(3)
    at.press("g")
    expect(at.page.get_by_label("Show images")).to_have_value("unsure")
    assert [cell.get_attribute("data-number") for cell in at.cells.all()] == ["0", "3"]
    at.filter(kind="moved to another class")
    at.says("There are no such images.")
    expect(at.page.locator("#cells")).to_have_text("There are no such images in this group. n goes on.")
    at.filter(kind="open")
    at.filter(group="the models say diatom (3)")
    at.press("g")
    at.shows(6)
    at.filter(group="ciliate → diatom (2)")
    at.press("g", "[", "g")  # to an image that is not of that pair
    at.shows(1)
    expect(at.group.locator("option:checked")).to_have_text("all pairs")
    at.press("ArrowRight")
    at.shows(2)
    at.on_disk({CILIATES[0]: ("unsure", "amoeba"), CILIATES[3]: ("unsure", "copepod")})
    # Where a group has no such images, the next one that has some is shown.
    at.press("g")
    at.filter(group="the models say diatom (3)")
    at.filter(kind="unsure")
    expect(at.page.locator("#grid-suggested")).to_have_text("ciliate")
    expect(at.cells).to_have_count(2)


def test_the_group_of_121_stays_in_view(review: Review) -> None:
    images = {f"class {n % 121}/{n}.png": f"class {(n + 1 + n // 121) % 121}" for n in range(242)}
    at = review(images, made={"classes": ()})
    at.press("g")
    current = at.page.locator("#groups [aria-current]")
    for by in ("suggested", "given", "pair"):
        expect(at.page.locator(f"#by-{by}")).to_have_attribute("aria-pressed", "true")
        for key in ("[", "[", "]", "]", "["):
            at.press(key)
            expect(current).to_be_in_viewport(ratio=0.9)
        at.page.locator("#groups button").first.click()
        at.press("[")
        expect(at.page.locator("#groups button").last).to_have_attribute("aria-current", "true")
        expect(current).to_be_in_viewport(ratio=0.9)
        at.press("b")
    at.on_disk({})
