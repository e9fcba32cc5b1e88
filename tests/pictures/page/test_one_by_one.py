"""The review page in a browser, one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dupekit.project import Project
from dupekit.review.style import Style
from tests.browser import HOSTILE, LAPTOP
from tests.pictures.page.reviewing import Review, Reviewing, numbered
from tests.pictures.page.serving import served
from tests.support import tree_state

pytestmark = pytest.mark.browser

FIVE = numbered("copepod", "diatom", 5)
OVER = (
    "[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]"
)


def test_each_key_moves_the_file_and_shows_the_next_image(review: Review) -> None:
    at = review(FIVE)
    at.shows(0)
    expect(at.question).to_have_text("Now in copepod. The models say diatom (9 of 10). ")
    at.press("r")
    at.shows(1)
    at.says("Image 1: label right. z takes it back.")
    at.press("a", "u", "x")
    at.shows(4)
    at.press("c")
    at.type("amo")
    at.press("Enter")
    expect(at.end).to_contain_text("All 5 images are decided.")
    at.on_disk(
        {
            "copepod/0000.png": ("correct", "copepod"),
            "copepod/0001.png": ("relabel", "diatom"),
            "copepod/0002.png": ("unsure", "copepod"),
            "copepod/0003.png": ("expunge", "copepod"),
            "copepod/0004.png": ("relabel", "amoeba"),
        }
    )
    for folder, name in (("_right/copepod", "0000"), ("_done/copepod", "0001"), ("amoeba", "0004")):
        assert [file.name for file in (at.tree / folder).iterdir()] == [f"diatom_09_{name}.png"]


def test_everything_works_with_the_mouse(review: Review) -> None:
    at = review(FIVE)
    at.button("Label right").click()
    at.shows(1)
    at.button("Suggestion right").click()
    at.shows(2)
    at.button("Unsure").click()
    at.shows(3)
    at.button("Throw out").click()
    at.shows(4)
    at.button("Another class").click()
    at.page.get_by_role("option", name="ciliate").click()
    at.button("Look through them again").click()
    at.shows(0)
    at.on_disk(
        {
            "copepod/0000.png": ("correct", "copepod"),
            "copepod/0001.png": ("relabel", "diatom"),
            "copepod/0002.png": ("unsure", "copepod"),
            "copepod/0003.png": ("expunge", "copepod"),
            "copepod/0004.png": ("relabel", "ciliate"),
        }
    )
    # A click leaves the keys with the page: Space and Enter do not press the button again.
    at.button("Take back").click()
    at.shows(4)
    at.press("Enter", "Space")
    at.on_disk({path: verdict for path, verdict in at.verdicts().items() if path != "copepod/0004.png"})
    assert len(at.verdicts()) == 4


def test_undo_goes_back_to_the_tree_as_it_was(review: Review) -> None:
    at = review(FIVE)
    before = tree_state(at.tree)
    at.press("r", "a", "u", "x", "ArrowLeft", "r")
    at.on_disk(
        {
            "copepod/0000.png": ("correct", "copepod"),
            "copepod/0001.png": ("relabel", "diatom"),
            "copepod/0002.png": ("unsure", "copepod"),
            "copepod/0003.png": ("correct", "copepod"),
        }
    )
    at.press("z")
    at.shows(3)
    at.says("Taken back: image 4.")
    expect(at.page.locator("#question .verdict")).to_have_text("thrown out")
    at.press("Control+z", "Control+z", "z", "z")
    at.shows(0)
    at.on_disk({})
    after = tree_state(at.tree)
    assert {path: state for path, state in after.items() if ".dupekit/" not in path} == {
        path: state for path, state in before.items() if ".dupekit/" not in path
    }
    at.press("z")
    at.says("There is nothing more to take back.")


def test_type_ahead_takes_a_beginning_a_part_or_letters_and_a_new_class_only_where_it_is_chosen(
    review: Review,
) -> None:
    at = review(FIVE, made={"classes": ("amoeba", "big_amoeba", "ciliate", "copepod", "Détritus", "diatom")})
    options = at.page.locator("#class-list li")
    at.press("c")
    at.type("oeb")
    expect(options).to_have_text(["amoeba", "big_amoeba", "Make a new class: oeb"])
    at.page.locator("#class-text").fill("amo")
    expect(options).to_have_text(["amoeba", "big_amoeba", "Make a new class: amo"])
    at.page.locator("#class-text").fill("bgm")
    expect(options).to_have_text(["big_amoeba", "Make a new class: bgm"])
    at.page.locator("#class-text").fill("detri")
    at.press("Enter")
    at.shows(1)
    at.press("c")
    at.type("krill")
    expect(options).to_have_text(["Make a new class: krill"])
    at.press("Enter")  # nothing was chosen
    expect(at.page.locator("#classes")).to_be_visible()
    assert set(at.verdicts()) == {"copepod/0000.png"}
    at.press("ArrowDown", "Enter")
    at.shows(2)
    at.says("Image 2: moved to krill.")
    at.press("1")
    at.shows(3)
    at.press("2")
    at.shows(4)
    at.press("3")  # there is none
    at.press("c")
    at.type("AMOEBA")
    expect(options.first).to_have_text("amoeba")
    expect(at.page.locator(".made")).to_have_count(0)
    at.press("Escape")
    at.on_disk(
        {
            "copepod/0000.png": ("relabel", "Détritus"),
            "copepod/0001.png": ("relabel", "krill"),
            "copepod/0002.png": ("relabel", "Détritus"),
            "copepod/0003.png": ("relabel", "krill"),
        }
    )


def test_what_no_class_can_be_called_is_not_offered_again(review: Review) -> None:
    at = review(FIVE)
    at.press("c")
    at.type("krill")
    at.press("ArrowDown", "Enter")
    at.press("c")
    at.type("a/b")
    at.press("ArrowDown", "Enter")
    at.says("Image 2 was not changed: No class can be called a/b")
    expect(at.page.locator("#recent button")).to_have_text(["1 krill"])
    at.press("c")
    at.type("a/b")
    expect(at.page.locator("#class-list li")).to_have_text(["Make a new class: a/b"])
    at.press("Escape", "2")  # there is none
    at.shows(2)
    # Nor in another spelling than it has.
    at.press("c")
    at.type("_expunge")
    at.press("ArrowDown", "Enter")
    at.says("the name has another meaning")
    at.press("c")
    at.type("diatom")
    at.press("Enter")
    expect(at.page.locator("#recent button")).to_have_text(["1 krill", "2 diatom"])
    at.on_disk({"copepod/0000.png": ("relabel", "krill"), "copepod/0003.png": ("relabel", "diatom")})


def test_keys_stay_the_browsers_and_the_fields(review: Review) -> None:
    at = review(FIVE)
    at.press("Control+x", "Alt+r", "Meta+u", "Control+Shift+z")
    at.press("c")
    at.type("rauxzn1")
    at.press("Control+z", "Escape")
    at.page.locator("#filter-verdict").focus()
    at.press("u")  # chooses "unsure" there
    at.says("There are no such images.")
    at.filter(kind="all images")
    # Held down, a key decides once.
    at.page.keyboard.down("x")
    at.page.keyboard.down("x")
    at.page.keyboard.down("x")
    at.page.keyboard.up("x")
    at.shows(1)
    # On a Russian keyboard the key of the letter r gives another letter.
    at.page.evaluate(
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'к', code: 'KeyR', bubbles: true}))"
    )
    at.shows(2)
    at.on_disk({"copepod/0000.png": ("expunge", "copepod"), "copepod/0001.png": ("correct", "copepod")})


def test_arrows_and_filters_go_through_what_was_decided(review: Review) -> None:
    at = review({**numbered("copepod", "diatom", 4), **numbered("diatom", "amoeba", 2)})
    at.press("u", "r", "u")
    at.shows(3)
    at.filter(kind="unsure")
    at.shows(0)
    at.press("ArrowRight")
    at.shows(2)
    at.press("ArrowRight")
    at.shows(2)
    at.press("x")  # goes to the next that is unsure
    at.shows(0)
    at.filter(kind="all images")
    at.filter(group="diatom → amoeba (2)")
    at.shows(4)
    at.press("a", "a")
    at.says("No open images of this pair are left.")
    expect(at.page.locator("#position")).to_have_text("6 of 6, 5 decided")
    at.filter(group="all pairs")
    at.press("n")
    at.shows(3)
    at.press("r")
    expect(at.end).to_be_visible()
    expect(at.page.locator("#end dl")).to_have_text("label right2suggestion right2thrown out1unsure1")
    at.on_disk(
        {
            "copepod/0000.png": ("unsure", "copepod"),
            "copepod/0001.png": ("correct", "copepod"),
            "copepod/0002.png": ("expunge", "copepod"),
            "copepod/0003.png": ("correct", "copepod"),
            "diatom/0000.png": ("relabel", "amoeba"),
            "diatom/0001.png": ("relabel", "amoeba"),
        }
    )


@pytest.mark.parametrize("enlarge", [1, 4])
def test_scale_bar_is_in_pixels_of_the_original(review: Review, enlarge: int) -> None:
    at = review(FIVE, made={"style": Style(enlarge=enlarge), "size": (40, 30)})
    at.shows(0)
    image = at.page.locator("#frame img")
    width = 0.0
    for key in ("", "+", "+", "-", "0"):
        if key:
            at.press(key)
        words = at.page.locator("#scale-text").inner_text()
        length, factor = map(float, re.fullmatch(r"([\d.]+) px · ([\d.]+)×", words).groups())  # type: ignore[union-attr]
        width = image.bounding_box()["width"]  # type: ignore[index]
        assert width == pytest.approx(40 * factor, abs=0.6)
        bar = at.page.locator("#scale-bar").bounding_box()["width"]  # type: ignore[index]
        assert bar == pytest.approx(length * factor, abs=0.6)
    assert width % 20 == 0  # fitted: a whole or half factor
    image.hover()
    at.page.mouse.wheel(0, -100)
    expect(at.page.locator("#scale-text")).not_to_contain_text(words.split(" ")[-1])
    at.press("0")
    at.press("s")
    at.shows(0)
    assert image.get_attribute("src") == "image/0?stretched=1"
    at.press("s")
    assert image.get_attribute("src") == "image/0?stretched=0"
    at.on_disk({})


def test_typical_images_of_both_classes_stand_beside(
    trained: Project, tmp_path: Path, servers: ExitStack, open_page: Callable[..., Page]
) -> None:
    trained.export(tmp_path / "tree")
    page = servers.enter_context(served(tmp_path / "tree"))
    at = Reviewing(tmp_path / "tree", open_page(page.server.address))
    given, suggested = at.question.locator("strong").all_inner_texts()
    for where, label in (("#given", given), ("#suggested", suggested)):
        thumbs = at.page.locator(f"{where} .thumb img")
        assert thumbs.count() == 5
        for thumb in thumbs.all():
            assert (thumb.get_attribute("alt") or "").startswith(f"{label}, ")
            assert thumb.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    at.press("c")
    at.type(given[:3])
    expect(at.page.locator("#class-sample .thumb img")).to_have_count(6)
    at.press("Escape", "g")
    at.page.locator("#by-suggested").click()
    expect(at.page.locator("#typical-suggested .thumb img")).to_have_count(8)
    at.page.locator("#by-pair").click()
    expect(at.page.locator("#typical-given .thumb img")).to_have_count(6)
    expect(at.page.locator("#typical-suggested .thumb img")).to_have_count(6)
    at.on_disk({})


def test_tree_with_an_audit_shows_no_votes(review: Review) -> None:
    at = review(FIVE, made={"audit": True})
    expect(at.question).to_have_text("Now in copepod. The models say diatom. ")
    at.on_disk({})


@pytest.mark.parametrize("viewport", [LAPTOP, (1280, 600), (800, 900)])
def test_names_that_are_markup_stay_text_and_nothing_overflows(
    review: Review, viewport: tuple[int, int]
) -> None:
    markup, quotes, handler = HOSTILE[0], HOSTILE[1], HOSTILE[2]
    long, arabic = "very_long_name_of_a_class_" * 7, "عوالق_نباتية"
    classes = (*HOSTILE, long, arabic, *(f"class {number}" for number in range(107)))
    images = {f"{markup}/{handler}.png": quotes, f"{long}/1.png": arabic, f"{arabic}/2.png": long}
    at = review(images, made={"classes": classes}, viewport=viewport)
    expect(at.question.locator("strong")).to_have_text([markup, quotes])
    at.press("c")
    found = at.page.locator("#class-list li")
    expect(found).to_have_count(121)
    at.type("hacked")
    expect(found.filter(has_text="hacked")).to_have_count(6)
    expect(found.last).to_have_text("Make a new class: hacked")
    at.page.locator("#class-text").fill("<i>new</i>")
    expect(found).to_have_text(["Make a new class: <i>new</i>"])
    at.page.locator("#class-text").fill("onmouse")
    at.press("Enter")
    at.says(f"moved to {handler}")
    at.press("g")
    expect(at.page.locator("#grid-suggested")).to_have_text(arabic)
    expect(at.cells.locator(".under")).to_have_text([long])
    for by in ("given", "pair", "suggested"):
        at.press("b")
        expect(at.page.locator(f"#by-{by}")).to_have_attribute("aria-pressed", "true")
        assert at.page.evaluate(OVER) == [0, 0]
    at.press("g", "a")
    at.shows(2)
    for key in ("g", "?", "Escape", "g"):
        at.press(key)
        assert at.page.evaluate(OVER) == [0, 0]
    assert at.page.locator("script").count() == 1
    assert at.page.locator("#frame img, .cell img").count() == at.page.locator("img").count()
    at.on_disk({f"{markup}/{handler}.png": ("relabel", handler), f"{long}/1.png": ("relabel", arabic)})
