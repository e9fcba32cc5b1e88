"""The page of one image: it stands alone, names stay text, and it is written over nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image as PillowImage

from dupekit import Choices
from dupekit.errors import UsageError
from dupekit.pictures.explain import scale_bar
from dupekit.project import Project
from dupekit.testing import make_dataset
from tests.browser import HOSTILE, SMALL
from tests.support import dupekit, dupekit_apart
from tests.workflow.test_explain import WRONG
from tests.workflow.test_references import thumbnails

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.parametrize(
    ("width", "pixels"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (88, 20), (150, 50), (4000, 1000)]
)
def test_a_scale_bar_is_a_round_number_of_at_most_a_third(width: int, pixels: int) -> None:
    bar = scale_bar(width)
    assert bar.pixels == pixels
    assert bar.share == min(pixels / width, 1)


@pytest.fixture
def hostile(tmp_path: Path, fast: dict[str, str]) -> tuple[Project, str]:
    """A project whose classes are markup, and a suspect of it."""
    names = [name for name in HOSTILE if "/" not in name and len(os.fsencode(name)) < 200][:6]
    data = make_dataset(tmp_path / "data", classes=names, per_class=8, seed=1)
    wrong = sorted((data / names[0]).iterdir())[0]
    moved = data / names[1] / f"{names[0]}.png"
    wrong.rename(moved)
    shutil.copy(moved, data / names[2] / "twin<b>.png")
    project = Project.create(data, tmp_path / "project")
    project.scan()
    project.train(Choices(pairs=2, **fast))
    thumbnails(project)
    suspects = [one.path for one in project.flag().suspects]
    assert suspects
    tree = project.export().tree
    project.collect(tree, who="<b onclick=hacked()>Ada</b>")
    return project, suspects[0]


@pytest.mark.browser
def test_names_that_are_markup_stay_text(
    hostile: tuple[Project, str], tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    project, path = hostile
    found = project.explain(path, html=tmp_path / "page.html")
    page = open_page((tmp_path / "page.html").as_uri())
    shown = page.locator("body").inner_text()
    assert found.given in shown
    assert found.counted is not None
    assert found.counted.suggested in shown
    assert page.locator("script, iframe, [onerror], [onload], [onclick], [onmouseover], a").count() == 0
    assert page.title() == path


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_shows_the_image_with_its_scale_beside_others(
    trained: Project, tmp_path: Path, open_page: Callable[..., Page], dark: bool
) -> None:
    thumbnails(trained)
    tree = trained.export().tree
    next(tree.rglob("*wrong_amoeba.png")).unlink()
    trained.collect(tree, who="Ada")
    trained.explain(WRONG, html=tmp_path / "page.html")
    page = open_page((tmp_path / "page.html").as_uri(), dark=dark)
    natural = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(natural) == 1 + 7 + 7 + 14
    assert all(natural)
    image = page.locator(".stage img").bounding_box()
    path = page.locator(".stage .scale path").bounding_box()
    assert image is not None
    assert path is not None
    with PillowImage.open(trained.dataset / WRONG) as opened:
        bar = scale_bar(opened.width)
    assert path["width"] / image["width"] == pytest.approx(bar.pixels / opened.width, abs=0.02)
    text = page.locator("body").inner_text()
    assert f"{bar.pixels} pixels" in text
    assert "label right" in text
    assert "amoeba, typical" in text
    assert page.locator(".other").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_stands_alone(trained: Project, tmp_path: Path) -> None:
    trained.explain(WRONG, html=tmp_path / "deep" / "page.html")
    text = (tmp_path / "deep" / "page.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "script-src" not in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "<script" not in text


def test_it_is_written_over_its_like_and_nothing_else(trained: Project, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    trained.explain(WRONG, html=page)
    first = page.read_text()
    trained.explain("amoeba/wrong_diatom.png", html=page)
    assert page.read_text() != first
    other = tmp_path / "thesis.html"
    other.write_text("<!DOCTYPE html>\n<p>years of work</p>")
    link = tmp_path / "link.html"
    link.symlink_to(other)
    for place in (other, link, tmp_path):
        with pytest.raises(UsageError):
            trained.explain(WRONG, html=place)
    assert "years of work" in other.read_text()
    tree = trained.export().tree
    for place in (trained.dataset / "page.html", tree / "page.html"):
        with pytest.raises(UsageError, match="lies inside"):
            trained.explain(WRONG, html=place)
        assert not place.exists()


def test_what_cannot_be_shown_says_why(trained: Project, tmp_path: Path) -> None:
    (trained.dataset / WRONG).write_bytes(b"another")
    trained.explain(WRONG, html=tmp_path / "a.html")
    assert "The file holds another image now." in (tmp_path / "a.html").read_text()
    (trained.dataset / WRONG).unlink()
    trained.explain(WRONG, html=tmp_path / "b.html")
    assert "The file is gone." in (tmp_path / "b.html").read_text()


def test_after_a_round_ended_its_images_are_those_it_saw(trained: Project, tmp_path: Path) -> None:
    thumbnails(trained)
    tree = trained.export().tree
    right = next(tree.rglob("*wrong_amoeba.png"))
    (tree / "_done" / "ciliate").mkdir(parents=True, exist_ok=True)
    right.rename(tree / "_done" / "ciliate" / right.name)
    trained.collect(tree, who="Ada")
    shutil.copytree(trained.dataset, tmp_path / "corrected")
    (tmp_path / "corrected" / WRONG).rename(tmp_path / "corrected" / "amoeba" / "wrong_amoeba.png")
    trained.next_round(tmp_path / "corrected", drop=True)
    trained.explain(WRONG, html=tmp_path / "after.html")
    trained.explain("amoeba/wrong_diatom.png", html=tmp_path / "other.html")
    for page in ("after.html", "other.html"):
        text = (tmp_path / page).read_text()
        assert "The file is gone." not in text
        assert "cannot be read" not in text


@pytest.mark.browser
def test_a_long_name_makes_no_wide_page_and_small_images_are_enlarged(
    tmp_path: Path, fast: dict[str, str], open_page: Callable[..., Page]
) -> None:
    names = ["Long_Name_of_a_Class_" * 9, "b" * 200, "c"]
    data = make_dataset(tmp_path / "data", classes=names, per_class=8, seed=1)
    project = Project.create(data, tmp_path / "project")
    project.scan()
    project.train(Choices(pairs=1, **fast))
    thumbnails(project)
    for label in names:
        image = next((data / label).iterdir())
        project.explain(image, html=tmp_path / "page.html")
        page = open_page((tmp_path / "page.html").as_uri(), viewport=SMALL)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = page.locator(".strip img").first.bounding_box()
        assert box
        assert box["height"] == pytest.approx(112, abs=1)


def test_a_page_before_the_first_round(project: Project, tmp_path: Path) -> None:
    project.explain(WRONG, html=tmp_path / "page.html")
    assert "No round has been begun yet." in (tmp_path / "page.html").read_text()


def test_the_command_names_the_page(trained: Project, tmp_path: Path) -> None:
    said = dupekit("explain", WRONG, "--html", tmp_path / "page.html", cwd=trained.path)
    assert said.stdout.endswith(f"The page is {tmp_path / 'page.html'}.\n")


def test_the_command_without_a_page_loads_no_templates(trained: Project) -> None:
    code = (
        "import sys; from dupekit import Project; from pathlib import Path;"
        f"Project(Path({str(trained.path)!r})).explain({WRONG!r}); print('jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert dupekit_apart("explain", "nothing", "-p", trained.path, code=2).stdout == ""
