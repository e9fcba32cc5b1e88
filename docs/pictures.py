"""Makes the pictures of README and docs again: `python docs/pictures.py`, by hand, after what they show has changed.

Everything in them is real: the demo's digits with planted errors, a round of ten pairs, the commands on a terminal of 80
columns, and the pages in the system's chromium (tests/browser.py says how it is found). The known truth plays the reviewer.
It takes about a minute, and needs `pip install -e '.[all,test]'`.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PillowImage
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))  # for the tests' browser and pseudo-terminal

from dupekit.demo.play import write_digits  # noqa: E402
from dupekit.files.paths import real_path  # noqa: E402
from dupekit.project import Project  # noqa: E402
from dupekit.review.manifest import DONE, RIGHT, Manifest  # noqa: E402
from tests.browser import context, launched  # noqa: E402
from tests.support import on_terminal  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = DOCS / "images"
WINDOW, SCALE = (1280, 800), 1.25
"""Of the pages: pixels of the style sheet, and of the screen for each of them."""
LARGEST = 200_000
"""Bytes of a picture: they are in the repository for ever."""
LARGEST_DRAWING = 60_000
ENLARGED = 4
"""Steps, beyond what the page does by itself: a digit has 8 pixels."""
SHOWN_FIRST = 60
"""So many images are decided where the review page is shown, as if in the middle of the work."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "workdir",
        nargs="?",
        type=Path,
        default=Path("/tmp/dupekit"),
        help="must not exist; its name is seen in the pictures",
    )
    workdir: Path = parser.parse_args().workdir.absolute()
    workdir.mkdir(parents=True)
    truth = {name: true for name, (true, _) in write_digits(workdir / "digits").items()}
    terminal = Recording(workdir)
    terminal.run("init digits -p project", last=2)
    terminal.enter("project")
    terminal.run("train --set image_size=64", last=5)
    terminal.run("flag", first=8, last=2)
    terminal.run("export --enlarge auto", first=3, last=2)

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launched(playwright)
        project = Project(workdir / "project")
        number, tree = project.tree()
        manifest = project.manifest_of(number)
        decide(tree, manifest, truth, range(SHOWN_FIRST))
        with reviewed(project.path) as address:
            for dark in (False, True):
                show_review(browser, address, right_of(manifest, truth), dark=dark)
        decide(tree, manifest, truth, range(SHOWN_FIRST, len(manifest.files)))
        terminal.comment("somebody looks at the images: dupekit review")
        terminal.run("collect", last=4)
        terminal.run("status", last=4)
        terminal.run("apply ../digits-corrected", last=3)
        terminal.run("evaluate", first=14, last=1)
        terminal.save(IMAGES / "terminal.svg")
        terminal.run("report")
        for dark in (False, True):
            show_report(browser, (project.path / "rounds" / "01" / "report.html").as_uri(), dark=dark)
        browser.close()
    shutil.rmtree(workdir)


def decide(tree: Path, manifest: Manifest, truth: dict[str, str], which: range) -> None:
    """Moves images as the review page does, each as its true label says."""
    for i in which:
        file = manifest.files[i]
        true = truth[file.original.rpartition("/")[2]]
        target = {file.given: tree / RIGHT / file.path, file.suggested: tree / DONE / file.path}.get(
            true, tree / true / Path(file.path).name
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        real_path(tree, file.path).rename(target)


def right_of(manifest: Manifest, truth: dict[str, str]) -> list[bool]:
    """Whether the label is right, image for image."""
    return [truth[file.original.rpartition("/")[2]] == file.given for file in manifest.files]


# --- the terminal


class Recording:
    """Commands on a terminal of 80 columns, and what it shows in the end: of bars, their last state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def run(self, command: str, *, first: int = 0, last: int = 1000) -> None:
        """Keeps the first and last lines of what `dupekit COMMAND` prints."""
        with on_terminal([sys.executable, "-m", "dupekit", *command.split()], cwd=self._folder) as (
            process,
            read,
        ):
            printed = b"".join(iter(read, b"")).decode()
        if process.wait():
            sys.exit(f"dupekit {command}:\n{printed}")
        shown = screen(printed)
        if len(shown) > first + last:
            shown = [*shown[:first], "\x1b[2m⋮\x1b[0m", *shown[-last:]]
        self._type(f"dupekit {command}")
        self._lines += shown

    def enter(self, folder: str) -> None:
        self._folder /= folder
        self._type(f"cd {folder}")

    def comment(self, text: str) -> None:
        self._lines += ["", f"\x1b[2m# {text}\x1b[0m"]

    def _type(self, command: str) -> None:
        self._lines += [*([""] if self._lines else []), f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m"]

    def save(self, file: Path) -> None:
        console = Console(
            record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor"
        )
        for line in self._lines:
            console.print(Text.from_ansi(line), no_wrap=True, crop=True)
        drawn = console.export_svg(title="dupekit", theme=LIGHT, code_format=FRAME, unique_id="terminal")
        write(file, re.sub(r"\s*\n\s*", "\n", drawn).encode(), at_most=LARGEST_DRAWING)


def screen(printed: str) -> list[str]:
    """What a terminal shows in the end of what rich prints: it goes up and erases whole lines before it writes them anew."""
    lines, row = [""], 0
    for part in re.split(r"(\r?\n|\r|\x1b\[\d*[AK]|\x1b\[\?25[lh])", printed):
        if part in ("\n", "\r\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.endswith("A") and part.startswith("\x1b["):
            row -= int(part[2:-1] or 1)
        elif part.endswith("K") and part.startswith("\x1b["):
            lines[row] = ""
        elif part != "\r" and not part.startswith("\x1b[?25"):
            lines[row] += part
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


# --- the pages


@contextmanager
def reviewed(project: Path) -> Iterator[str]:
    """The address of the review page, while it is served."""
    command = [sys.executable, "-m", "dupekit", "review", "--no-open"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield next(line.strip() for line in server.stdout if line.startswith("http://"))
        finally:
            server.terminate()


def show_review(browser: Browser, address: str, right: list[bool], *, dark: bool) -> None:
    page = opened(browser, address, dark=dark)
    page.locator("#one").wait_for()
    page.wait_for_load_state("networkidle")  # before the image is there, nothing is enlarged
    for _ in range(ENLARGED):
        page.keyboard.press("+")
    photograph(page, "review-one", dark=dark)
    page.keyboard.press("g")
    page.locator("#by-pair").click()
    pairs = page.locator("#groups button").all()
    max(pairs, key=lambda pair: int((pair.locator(".number").text_content() or "").replace("✓", "0"))).click()
    page.keyboard.press("r")  # the whole page, but for those that are clicked out
    for cell in page.locator("#cells [data-number]").all():
        if not right[int(cell.get_attribute("data-number") or "")]:
            cell.click()
    page.locator("#asking").wait_for()
    photograph(page, "review-grid", dark=dark)
    page.context.close()


def show_report(browser: Browser, address: str, *, dark: bool) -> None:
    page = opened(browser, address, dark=dark)
    photograph(page, "report", dark=dark)
    page.context.close()


def opened(browser: Browser, address: str, *, dark: bool) -> Page:
    page = context(browser, WINDOW, dark=dark, scale=SCALE).new_page()
    page.goto(address)
    return page


def photograph(page: Page, name: str, *, dark: bool) -> None:
    page.evaluate(
        "Promise.all([...document.images].filter(one => one.loading !== 'lazy').map(one => one.decode().catch(() => 0)))"
    )
    page.wait_for_timeout(500)  # a transition, or an image that comes into view
    out = io.BytesIO()
    PillowImage.open(io.BytesIO(page.screenshot())).convert("RGB").save(out, "WEBP", quality=85, method=6)
    write(IMAGES / f"{name}{'-dark' if dark else ''}.webp", out.getvalue(), at_most=LARGEST)


def write(file: Path, content: bytes, *, at_most: int) -> None:
    if len(content) > at_most:
        sys.exit(f"{file.name} has {len(content)} bytes, more than {at_most}.")
    file.write_bytes(content)
    print(f"{file.name}: {len(content):,} bytes")


FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-title {{ font: bold 18px Arial, Helvetica, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Of rich's SVG, without the font that it would fetch: each machine has one for terminals."""
LIGHT = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [(36, 41, 47), (179, 66, 58), (44, 122, 75), (150, 105, 15), (32, 113, 143), (130, 80, 160), (32, 113, 143), (106, 102, 95)],
)  # fmt: skip


if __name__ == "__main__":
    main()
