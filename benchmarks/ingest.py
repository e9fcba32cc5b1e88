"""What it costs to record predictions in the ledger, as every run that ends does.

    python benchmarks/ingest.py [--images 200000] [--runs 20] [--before] [--place FOLDER]

IMAGES images, half of them in each run, chosen at random as a split does; RUNS runs recorded one after the other, each
in a transaction that is on the disk when it ends. `--before`: the table as it was up to the ledger's version 4, with its
key by image and its foreign keys. Bytes are those that this process caused to be written, as the kernel counts them: a
file system in memory counts none. At the end the time to read what `dupekit verify` asks, predictions by run.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from reporting import machine, show

from dupekit.ledger import Ledger, predictions, rounds
from dupekit.ledger.predictions import RunPredictions

BEFORE = """
CREATE TABLE predictions (
    image INTEGER NOT NULL REFERENCES images (id),
    run INTEGER NOT NULL REFERENCES runs (id),
    predicted INTEGER NOT NULL REFERENCES classes (id),
    probability REAL NOT NULL,
    probability_given REAL NOT NULL,
    PRIMARY KEY (image, run)
) WITHOUT ROWID
"""
CLASSES = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--before", action="store_true")
    parser.add_argument("--place", type=Path, help="A folder on the file system to measure.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.place) as folder:
        path = Path(folder) / "ledger.db"
        with Ledger(path, create=True) as ledger:
            prepare(ledger, chosen.images, chosen.runs, before=chosen.before)
            seconds, written = record(ledger, chosen.images)
            started = time.perf_counter()
            assert sum(predictions.counts(ledger).values()) == chosen.images * chosen.runs // 2
            counting_s = time.perf_counter() - started
        size = path.stat().st_size
    show(
        f"Recording {chosen.runs} runs of {chosen.images} images{', the table as before' if chosen.before else ''}",
        {
            "all runs, s": [sum(seconds)],
            "a run, s": seconds,
            "the last five runs, s": seconds[-5:],
            "written, MiB": [written / 2**20],
            "ledger at the end, MiB": [size / 2**20],
            "counting by run, s": [counting_s],
        },
    )
    print(f"{machine()}, SQLite {sqlite3.sqlite_version}")


def prepare(ledger: Ledger, images: int, runs: int, *, before: bool) -> None:
    rounds.begin(ledger, number=1, dataset="/data", pairs=-(-runs // 2), images=images, plan="{}")
    with ledger.write() as db:
        if before:
            db.execute("DROP TABLE predictions")
            db.execute(BEFORE)
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
