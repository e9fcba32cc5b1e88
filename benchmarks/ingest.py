"""What it costs to record predictions in the ledger, as every run that ends does.

    python benchmarks/ingest.py [--images 200000] [--runs 20] [--repeats 3] [--place FOLDER]

IMAGES images, half of them in each run, chosen at random as a split does; RUNS runs recorded one after the other, each
in a transaction that is on the disk when it ends; REPEATS times. Three tables take turns: today's; today's with the
foreign keys that it does without; and that of the ledger's versions 1 to 4, with its key by image and foreign keys. Bytes
are those that this process caused to be written, as the kernel counts them: a file system in memory counts none. Counting
is what `dupekit verify` asks, the predictions of each run.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from reporting import machine, show

from dupekit.ledger import Ledger, predictions, rounds
from dupekit.ledger.predictions import RunPredictions

REFERRING = """
CREATE TABLE predictions (
    {} INTEGER NOT NULL REFERENCES {}s (id),
    {} INTEGER NOT NULL REFERENCES {}s (id),
    predicted INTEGER NOT NULL REFERENCES classes (id),
    probability REAL NOT NULL,
    probability_given REAL NOT NULL,
    PRIMARY KEY ({}, {})
) WITHOUT ROWID
"""
TABLES = {
    "today's table": None,
    "the same with foreign keys": REFERRING.format("run", "run", "image", "image", "run", "image"),
    "the table of versions 1 to 4": REFERRING.format("image", "image", "run", "run", "image", "run"),
}
CLASSES = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--place", type=Path, help="A folder on the file system to measure.")
    chosen = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in TABLES}
    for _ in range(chosen.repeats):
        for name, sql in TABLES.items():
            with tempfile.TemporaryDirectory(dir=chosen.place) as folder:
                for figure, value in measure(
                    Path(folder) / "ledger.db", chosen.images, chosen.runs, sql
                ).items():
                    found[name][figure].append(value)
    for name, figures in found.items():
        show(f"{chosen.runs} runs of {chosen.images} images: {name}", figures)
    print(f"{machine()}, SQLite {sqlite3.sqlite_version}")


def measure(path: Path, images: int, runs: int, sql: str | None) -> dict[str, float]:
    with Ledger(path, create=True) as ledger:
        prepare(ledger, images, runs, sql)
        seconds, written = record(ledger, images)
        started = time.perf_counter()
        assert sum(predictions.counts(ledger).values()) == images * runs // 2
        counting_s = time.perf_counter() - started
    return {
        "all runs, s": sum(seconds),
        "the last run, s": seconds[-1],
        "written, MiB": written / 2**20,
        "ledger at the end, MiB": path.stat().st_size / 2**20,
        "counting by run, s": counting_s,
    }


def prepare(ledger: Ledger, images: int, runs: int, sql: str | None) -> None:
    rounds.begin(ledger, number=1, dataset="/data", pairs=-(-runs // 2), images=images, plan="{}")
    with ledger.write() as db:
        if sql is not None:
            db.execute("DROP TABLE predictions")
            db.execute(sql)
        db.executemany("INSERT INTO classes (name) VALUES (?)", ((f"class {i}",) for i in range(CLASSES)))
        db.executemany(
            "INSERT INTO images (path, class, size, mtime_ns, digest, width, height, mode, state)"
            " VALUES (?, ?, 1, 1, ?, 1, 1, 'L', 'ok')",
            ((f"class {i % CLASSES}/{i}.png", i % CLASSES + 1, f"{i:064x}") for i in range(images)),
        )


def record(ledger: Ledger, images: int) -> tuple[list[float], int]:
    """Seconds of each run, and bytes written."""
    seconds, first = [], written_bytes()
    of_runs = draw(images)
    for run in rounds.runs(ledger, 1):
        columns = next(of_runs)
        started = time.perf_counter()
        predictions.record(ledger, run.number, columns, seconds=1.0, agreement=0.5)
        seconds.append(time.perf_counter() - started)
    return seconds, written_bytes() - first


def draw(images: int) -> Iterator[RunPredictions]:
    """The runs of pair after pair: random halves of the images."""
    rng = np.random.default_rng(1)
    while True:
        second = np.zeros(images, bool)
        second[rng.permutation(images)[: images // 2]] = True
        for half in (second, ~second):
            numbers = np.flatnonzero(half) + 1
            shares = rng.random((2, len(numbers)), np.float32)
            yield RunPredictions(numbers, rng.integers(1, CLASSES + 1, len(numbers)), *shares)


def written_bytes() -> int:
    (line,) = (x for x in Path("/proc/self/io").read_text().splitlines() if x.startswith("write_bytes"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
