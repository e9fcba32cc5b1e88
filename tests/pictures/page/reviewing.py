"""The page of a review tree in a browser, and what lies on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from dupekit.files.write import digest_file
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
        image.putpixel((0, 0), number // 160)
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


@dataclass(frozen=True, slots=True, eq=False)
class Reviewing:
    """The page of a tree, opened once its images are there."""

    tree: Path
    page: Page

    def __post_init__(self) -> None:
        expect(self.page.locator("#question strong, #end h2").first).not_to_be_empty()

    def verdicts(self) -> dict[str, tuple[str, str]]:
        """Of the tree on disk: path in the dataset -> verdict and label, without what is open."""
        review = read_tree(self.tree, tree_manifest(self.tree)).review
        assert not review.strangers
        return {
            v.file.original: (v.verdict.value, v.label) for v in review.verdicts if v.verdict.value != "open"
        }

    def on_disk(self, expected: Mapping[str, tuple[str, str]]) -> None:
        """Waits until the tree says so, and nothing else."""
        until(lambda: self.verdicts() == expected)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

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

    def filter(self, *, kind: str | None = None, group: str | None = None) -> None:
        if kind:
            self.page.get_by_label("Show images").select_option(label=kind)
        if group:
            self.group.select_option(label=group)

    @property
    def group(self) -> Locator:
        return self.page.locator("#filter-group")

    @property
    def question(self) -> Locator:
        return self.page.locator("#question")

    @property
    def end(self) -> Locator:
        return self.page.locator("#end")

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")

    @property
    def cells(self) -> Locator:
        return self.page.locator(".cell")

    @property
    def chosen(self) -> Locator:
        return self.page.locator('.cell[aria-selected="true"]')

    @property
    def asking(self) -> Locator:
        return self.page.locator("#asking")


Review = Callable[..., Reviewing]
"""Makes a tree (`made`: options of `make_tree`), serves it (`served`: options of `ReviewServer`), and opens its
page (options as `open_page`)."""
