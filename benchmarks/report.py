"""What a report costs: its size, the time to make it, and how soon and how smoothly a browser shows it.

    python -m benchmarks.report DATASET [--suspects 300 5000] [--repeats 3] [--keep FOLDER] [--colour]

DATASET is a folder of classes, such as plankton-small. Of each class COPIES are made, each of its images mirrored, turned or made
lighter in another way, so that there are over 121 classes, of which the copies are confused with each other: that gives the many
suspects that are needed. One pair of the trainer `probe` at 64 pixels predicts them. With --colour the images are photos: tinted
noise of 200 pixels over the originals, which no format packs well. The browser is the system's chromium without a window; times are
by its own clock, from the beginning of the navigation, and of frames from one to the next while it scrolls by 90 pixels a frame.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from playwright.sync_api import sync_playwright

from benchmarks.reporting import machine, show
from dupekit import Choices
from dupekit.project import Project
from tests.browser import LAPTOP, context, launched

COPIES = 5
CLASSES = 121
FRAMES = 400

SCROLL = """async (frames) => {
  const times = [];
  await new Promise((done) => {
    let last = null;
    const step = (now) => {
      if (last !== null) times.push(now - last);
      last = now;
      if (times.length >= frames) return done();
      scrollBy(0, 90);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
  return times;
}"""
TO_END = """async () => {
  const begun = performance.now();
  scrollTo(0, document.body.scrollHeight);
  for (;;) {
    await new Promise(requestAnimationFrame);
    const last = [...document.querySelectorAll(".card .own img")].at(-1);
    if (last && last.closest(".card").ariaPosInSet === last.closest(".card").ariaSetSize) {
      await last.decode();
      return performance.now() - begun;
    }
  }
}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--suspects", type=int, nargs="+", default=[300, 5000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="Where the project is made, or was made before.")
    parser.add_argument("--colour", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = chosen.keep or Path(temporary)
        project = prepared(chosen.dataset, place, colour=chosen.colour)
        with sync_playwright() as playwright:
            browser = launched(playwright)
            for suspects in chosen.suspects:
                figures: dict[str, list[float]] = defaultdict(list)
                for _ in range(chosen.repeats):
                    for name, value in measured(project, browser, suspects).items():
                        figures[name].append(value)
                title = f"{suspects:,} suspects, {project.status().classes} classes, {project.status().images:,} images"
                show(f"{title}{', colour' if chosen.colour else ''}", figures)
            print(f"\n{machine()}, chromium {browser.version}")
            browser.close()


def prepared(source: Path, place: Path, *, colour: bool) -> Project:
    """A project with one pair of a dataset of so many classes."""
    if not (place / "project").is_dir():
        _make(source, place, colour=colour)
    project = Project(place / "project")
    project.train(Choices(pairs=1, trainer="probe", options={"image_size": 64, "epochs": 5}))
    return project


def _make(source: Path, place: Path, *, colour: bool) -> None:
    rng = np.random.default_rng(0)
    folders = sorted(folder for folder in source.iterdir() if folder.is_dir())
    names = [(folder, copy) for copy in range(COPIES) for folder in folders][:CLASSES]
    for folder, copy in names:
        target = place / "data" / f"{folder.name}_{copy}"
        target.mkdir(parents=True)
        for file in sorted(folder.iterdir()):
            with Image.open(file) as opened:
                image = _otherwise(opened.convert("L"), copy)
            if colour:
                image = _photo(image, rng)
            image.save(target / f"{file.stem}.png")
    Project.create(place / "data", place / "project").scan()


def _otherwise(image: Image.Image, copy: int) -> Image.Image:
    if copy == 1:
        return ImageOps.mirror(image)
    if copy == 2:
        return ImageOps.flip(image)
    return image.point(lambda value: min(255, value + 4 * copy)) if copy else image


def _photo(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    base = np.asarray(ImageOps.pad(image, (200, 200)).convert("RGB"), np.int16)
    noise = rng.normal(0, 22, base.shape) + rng.normal(0, 30, 3)
    return Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))


def measured(project: Project, browser: Any, suspects: int) -> dict[str, float]:
    begun = time.perf_counter()
    made = project.report(limit=suspects)
    seconds = time.perf_counter() - begun
    assert made.suspects == suspects, f"there are only {made.total} suspects"
    found = {"time to make it, s": seconds, "size, MB": made.size_bytes / 1e6, "thumbnails": made.pictures}
    page = context(browser, LAPTOP, dark=False).new_page()
    page.goto(made.file.as_uri())
    painted, ready, whole = page.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " performance.getEntriesByName('report-shown')[0].startTime,"
        " performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd]"
    )
    found |= {
        "first screen painted, ms": max(painted, ready),
        "whole page read, ms": whole,
    }
    frames = sorted(page.evaluate(SCROLL, FRAMES))
    found |= {
        "frame while scrolling, median, ms": frames[len(frames) // 2],
        "95 of 100, ms": frames[len(frames) * 95 // 100],
        "the longest, ms": frames[-1],
        "jump to the end, until shown, ms": page.evaluate(TO_END),
    }
    begun = time.perf_counter()
    page.fill("#text", "0")
    found["filter by text, ms"] = (time.perf_counter() - begun) * 1000
    page.context.close()
    return found


if __name__ == "__main__":
    main()
