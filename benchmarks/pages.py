"""The review page: how fast it shows the next image, what its server takes, and how many presses a review is.

    python benchmarks/pages.py PLANKTON WORKDIR

PLANKTON is plankton-small, unpacked. Needs chromium; everything is made in WORKDIR, which must not exist yet.

Speed: PLANKTON's images, also mirrored and turned upside down, in ten classes of random labels, so that most are suspects;
trees of 300, 1,000 and 5,000 of them, reviewed in a window of 1366 x 768 pixels. From the key's own time stamp to the first
frame after the image is decoded and stands in the page, by the browser's clock; the next key comes as soon as that is seen.
Memory: that of the server's process, its largest, after it has shown the images.

The simulated expert: a round on PLANKTON with 5 % of its labels made wrong, and its first 300 suspects. The known truth
decides in six ways: one by one, by pages of the grid, grouped in each of its three ways, in the grid where a pair has many
images and else one by one, and in the file manager as the technician's page says (to leave a file counts nothing, to mark one a click). What
`collect` reads must be the same.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps
from planted_round import plant
from reporting import machine, show

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the tests' browser

from dupekit import Choices, Selection
from dupekit.files.paths import real_path
from dupekit.project import Project
from dupekit.review.manifest import DONE, ExportedFile
from tests.browser import LAPTOP, context, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TREES = (300, 1000, 5000)
PRESSES, PAIRS = 200, 40
CLASSES, SEED = 10, 1
MANY = 4
"""Images of a pair, from which on the expert who uses both ways takes the grid."""
Decision = tuple[str, str]
"""A key, and the class that is meant where the key does not say it."""

CLOCK = """
const painted = () => new Promise((done) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();  // its message comes after the frame is painted
  port1.onmessage = done;
  port2.postMessage(0);
}));
const WANTED = { one: "#frame img", grid: "#cells img" };
const shown = (mode) => [...document.querySelectorAll(WANTED[mode])].map((image) => image.getAttribute("src")).join(" ");
async function timed(mode, before, from) {
  while (shown(mode) === before) {
    if (performance.now() - from > 20000) throw new Error("no other image came");
    await painted();
  }
  await Promise.all([...document.querySelectorAll(WANTED[mode])].map((image) => image.decode()));
  await painted();
  return performance.now() - from;
}
window.next = (mode) => {
  const before = shown(mode);
  window.took = new Promise((done) => addEventListener(
    "keydown", (event) => done(timed(mode, before, event.timeStamp)), { capture: true, once: true },
  ));
};
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plankton", type=Path)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--only", choices=("speed", "expert"), help="half of it")
    arguments = parser.parse_args()
    workdir: Path = arguments.workdir.absolute()
    workdir.mkdir(parents=True)
    from playwright.sync_api import sync_playwright

    try:
        with sync_playwright() as playwright:
            browser = launched(playwright)
            if arguments.only != "expert":
                speed(arguments.plankton, workdir / "speed", browser)
            if arguments.only != "speed":
                expert(arguments.plankton, workdir / "expert", browser)
            print(f"\n{machine()}, Chromium {browser.version}")
            browser.close()
    finally:
        shutil.rmtree(workdir)


# --- speed and memory


def speed(plankton: Path, place: Path, browser: Browser) -> None:
    project = doubtful(plankton, place)
    for images in TREES:
        tree = project.export(place / f"tree-{images}", selection=Selection(limit=images)).tree
        with reviewed(tree) as (address, server):
            idle = memory_mib(server.pid, "VmRSS")
            page = opened(browser, address)
            found = {"from a decision to the next image, ms": decide_fast(page)}
            back = [next_ms(page, "ArrowLeft") for _ in range(PRESSES)]
            found["from an arrow key to the next image, ms"] = back
            page.keyboard.press("g")
            page.locator("#filter-verdict").select_option("all")
            page.locator("#cells img").first.wait_for()
            page.locator("#filter-verdict").blur()
            page.locator("#by-pair").click()
            turned = [next_ms(page, "]", "grid") for _ in range(PAIRS)]
            found["from ] to all images of the next pair's page, ms"] = turned
            if images == TREES[1]:
                see_all(page, images)
            page.context.close()
            found["memory of the server: at first, MiB"] = [idle]
            found["the largest, MiB"] = [memory_mib(server.pid, "VmHWM")]
        show(f"A tree of {images} images", found)


def doubtful(plankton: Path, place: Path) -> Project:
    """A trained round on images with random labels: nearly all are suspects."""
    rng = random.Random(SEED)
    files = sorted(file for file in plankton.rglob("*") if file.is_file())
    for i, file in enumerate(files):
        with Image.open(file) as opened_image:
            image = opened_image.convert("L")
        for name, seen in (("", image), ("m", ImageOps.mirror(image)), ("f", ImageOps.flip(image))):
            target = place / "images" / f"class {rng.randrange(CLASSES)}" / f"{i:05}{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            seen.save(target)
    project = Project.create(place / "images", place / "project")
    project.scan()
    if project.train(Choices(trainer="probe", pairs=2, seed=SEED, options={"image_size": 64})).failed:
        sys.exit("The training failed.")
    return project


def decide_fast(page: Page) -> list[float]:
    rng = random.Random(SEED)
    return [next_ms(page, rng.choice("rraaux")) for _ in range(PRESSES)]


def next_ms(page: Page, key: str, mode: str = "one") -> float:
    page.evaluate("mode => next(mode)", mode)
    page.keyboard.press(key)
    return float(page.evaluate("took"))


def see_all(page: Page, images: int) -> None:
    """Gets every image of the tree from the server, as somebody does who looks at all of them."""
    page.evaluate(
        """async (images) => {
            for (let n = 0; n < images; n++) for (const stretched of [0, 1]) {
                const answer = await fetch(`image/${n}?stretched=${stretched}`);
                if (!answer.ok) throw new Error(`image ${n}: ${answer.status}`);
                await answer.blob();
            }
        }""",
        images,
    )


def memory_mib(pid: int, which: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"{which}:\s+(\d+) kB", status)[0]) / 1024


# --- the simulated expert


def expert(plankton: Path, place: Path, browser: Browser) -> None:
    truth = plant(plankton, place / "planted")
    project = Project.create(place / "planted", place / "project")
    project.scan()
    if project.train(Choices(trainer="probe", pairs=10)).failed:
        sys.exit("The training failed.")
    exported = project.export()
    files, original = exported.manifest.files, exported.tree
    sizes = Counter((file.given, file.suggested) for file in files)
    many = {i for i, file in enumerate(files) if sizes[file.given, file.suggested] >= MANY}
    ways = {
        "one by one": one_by_one,
        **{f"grid, by {by}": partial(by_pages, by=by) for by in ("pair", "suggested", "given")},
        "both": partial(both, many=many),
    }
    trees = {way: shutil.copytree(original, place / way) for way in (*ways, "file manager")}
    right = [decision(file, truth[file.original]) for file in files]
    print(f"\nThe simulated expert: {len(files)} images, {dict(Counter(what for what, _ in right))}")
    counted = {}
    for way, work in ways.items():
        with reviewed(trees[way]) as (address, _):
            page = opened(browser, address)
            hand = Hand(page)
            work(hand, right, set(range(len(files))))
            page.locator("#end h2").wait_for()
            page.wait_for_timeout(1000)  # the last answers
            page.context.close()
        counted[way] = hand.counts
    counted["file manager"] = in_file_manager(trees["file manager"], files, right)
    for number, (way, tree) in enumerate(trees.items()):
        collected = project.collect(tree, confirm=lambda _: True)
        decided = {v.file.original: v.label for v in collected.review.verdicts}
        assert decided == {file.original: truth[file.original] for file in files}, way
        assert len(collected.changed) == (0 if number else len(files)), way
    for way, counts in counted.items():
        total = sum(counts.values())
        told = ", ".join(f"{count} {what}" for what, count in counts.most_common())
        print(f"{way:20}{total:6} in all, {total / len(files):.2f} an image: {told}")


def decision(file: ExportedFile, true: str) -> Decision:
    return {file.given: ("r", ""), file.suggested: ("a", "")}.get(true, ("c", true))


class Hand:
    """Presses keys and clicks, and counts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.counts: Counter[str] = Counter()

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.counts["keys"] += 1

    def click(self, what: str) -> None:
        self.page.locator(what).click()
        self.counts["clicks"] += 1

    def decide(self, key: str, label: str) -> None:
        if key != "c":
            self.press(key)
            return
        recent = [
            one.get_attribute("aria-label") or one.inner_text()
            for one in self.page.locator("#recent button").all()
        ]
        known = next((str(i) for i, text in enumerate(recent, 1) if label in text), None)
        self.press(known or "c")
        if known is None:
            first = self.page.locator("#class-list li").first
            for letter in label:
                self.press(letter)
                if first.inner_text() == label:
                    break
            self.press("Enter")


def one_by_one(hand: Hand, right: list[Decision], left: set[int]) -> None:
    image = hand.page.locator("#frame img")
    while left:
        number = int(image.get_attribute("data-number") or "")
        if number in left:
            hand.decide(*right[number])
            left.remove(number)
        else:
            hand.press("n")
        if left:
            hand.page.locator(f'#frame img:not([data-number="{number}"])').wait_for()


def by_pages(hand: Hand, right: list[Decision], left: set[int], *, by: str = "pair") -> None:
    """Each page of a group: what most of its images are, but for those that are clicked out; then the rest in the same way."""
    hand.press("g")
    hand.click(f"#by-{by}")
    hand.click("#groups button:first-child")  # of most images; the others follow by themselves
    pages(hand, right, left)


def both(hand: Hand, right: list[Decision], left: set[int], *, many: set[int]) -> None:
    """Those of the pairs with many images by pages, the others one by one."""
    by_pages(hand, right, left & many)
    hand.press("g")
    one_by_one(hand, right, left - many)


def pages(hand: Hand, right: list[Decision], left: set[int]) -> None:
    while left:
        cells = hand.page.locator("#cells [data-number]:not(.decided)")
        cells.first.wait_for()
        here = [int(cell.get_attribute("data-number") or "") for cell in cells.all()]
        ((most, _),) = Counter(right[i] for i in here).most_common(1)
        meant = [i for i in here if right[i] == most]
        others = [i for i in here if right[i] != most]
        if len(meant) <= len(others):  # they are chosen first: fewer clicks than leaving the others out
            for i in meant:
                hand.click(f'#cells [data-number="{i}"]')
            hand.decide(*most)
        else:
            hand.decide(*most)
            for i in others:
                hand.click(f'#cells [data-number="{i}"]')
            hand.press("Enter")
        left.difference_update(meant)
        gone = "numbers => numbers.every(n => !document.querySelector(`#cells [data-number='${n}']:not(.decided)`))"
        hand.page.wait_for_function(gone, arg=meant)


def in_file_manager(tree: Path, files: list[ExportedFile], right: list[Decision]) -> Counter[str]:
    """As the technician's page says: delete what is right, leave what is as suggested, move the rest; then the folders."""
    counts: Counter[str] = Counter()
    for file, (key, label) in zip(files, right, strict=True):
        path = real_path(tree, file.path)
        if key == "r":
            path.unlink()
            counts["files marked to be deleted"] += 1
        elif key == "c":
            path.rename(tree / label / path.name)
            counts["files moved"] += 1
    given = {file.given for file in files}
    for folder in given:
        (tree / folder).rename(tree / DONE / folder)
    counts["folders opened"] = counts["folders moved"] = len(given)
    counts["presses of Delete"] = len(
        {file.given for file, (key, _) in zip(files, right, strict=True) if key == "r"}
    )
    return counts


# --- the page


@contextmanager
def reviewed(tree: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of the review page of a tree, and the process that serves it."""
    command = [sys.executable, "-m", "dupekit", "review", str(tree), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield next(line.strip() for line in server.stdout if line.startswith("http://")), server
        finally:
            server.terminate()


def opened(browser: Browser, address: str) -> Page:
    page = context(browser, LAPTOP).new_page()
    page.add_init_script(CLOCK)
    page.goto(address)
    page.locator("#frame img").wait_for()
    page.wait_for_timeout(1000)
    return page


if __name__ == "__main__":
    main()
