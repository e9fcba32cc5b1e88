"""What it costs to collect a large review tree, first and again, and to ask for the status after it.

    python -m benchmarks.collect [--files 50000] [--repeats 3] [--place FOLDER]

FILES images of 16 pixels in 50 classes, all of them exported, all of them left as wrong and their class folders moved into
`_done`: so each has a verdict. The second collect finds nothing new. No training: the round has no predictions.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.reporting import machine, show
from tests.reviewed import exported_project

CLASSES = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--place", type=Path, help="A folder on the file system to measure.")
    chosen = parser.parse_args()
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(chosen.repeats):
        with tempfile.TemporaryDirectory(dir=chosen.place) as folder:
            for figure, seconds in measure(Path(folder), chosen.files).items():
                found[figure].append(seconds)
    show(f"{chosen.files} exported files", found)
    print(f"{machine()}, SQLite {sqlite3.sqlite_version}")


def measure(folder: Path, files: int) -> dict[str, float]:
    labels = [f"class {number:02}" for number in range(CLASSES)]
    suggested = {f"{labels[i % CLASSES]}/{i}.png": labels[(i + 1) % CLASSES] for i in range(files)}
    project = exported_project(folder, suggested)
    tree = folder / "tree"
    (tree / "_done").mkdir(exist_ok=True)
    for label in labels:
        (tree / label).rename(tree / "_done" / label)

    def collect() -> int:
        return len(project.collect(confirm=lambda _: True).changed)

    seconds: dict[str, float] = {}
    for figure, work, expected in (
        ("the first collect, s", collect, files),
        ("the second, s", collect, 0),
        ("status, s", lambda: project.status().verdicts["relabel"], files),
    ):
        seconds[figure] = _timed(work, expected)
    return seconds


def _timed(work: Callable[[], int], expected: int) -> float:
    started = time.perf_counter()
    assert work() == expected
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
