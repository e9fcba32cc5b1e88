"""One worker against several on a CPU, by what a whole `dupekit train` takes.

    python benchmarks/local_workers.py DATASET [--workers 1,2] [--repeats 5] [--only probe-cached,torch,probe]

In turns, each on a fresh project: the probe's ten pairs with cached features, the same without, two pairs of the compact network of two
epochs. Clock and processor time of the command and its workers. Scanning is not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import machine, show

KINDS = {
    "probe-cached": ("--trainer", "probe", "--pairs", "10"),
    "torch": ("--trainer", "torch", "--pairs", "2", "--set", "epochs=2"),
    "probe": ("--trainer", "probe", "--pairs", "10"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join(KINDS))
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.workers.split(",")]
    clock: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        fresh, full = Path(place) / "fresh", Path(place) / "full"
        dupekit("init", arguments.dataset, "-p", fresh)
        shutil.copytree(fresh, full)
        for kind in ("probe", "torch"):  # fills the cache
            shutil.rmtree(full / "rounds", ignore_errors=True)
            shutil.copy(fresh / "ledger.db", full)
            train(full, KINDS[kind], 1)
        for repeat in range(arguments.repeats):
            for kind in arguments.only.split(","):
                for count in counts if repeat % 2 else reversed(counts):
                    project = Path(place) / "project"
                    shutil.rmtree(project, ignore_errors=True)
                    shutil.copytree(fresh, project)
                    if kind != "probe":
                        shutil.copytree(full / "cache", project / "cache", dirs_exist_ok=True)
                    name = f"{kind}, {count} workers"
                    seconds, of_processor = train(project, KINDS[kind], count)
                    clock.setdefault(f"{name}, s", []).append(seconds)
                    processor.setdefault(f"{name}, processor s", []).append(of_processor)
                    print(
                        f"{name}: {seconds:.1f} s, processor {of_processor:.1f} s, load {os.getloadavg()[0]:.1f}",
                        flush=True,
                    )
    show(machine(), clock | processor)


def train(project: Path, arguments: tuple[str, ...], workers: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    before, began = _used(), time.perf_counter()
    dupekit("train", "-p", project, "--device", "cpu", *arguments, "--set", f"executor.workers={workers}")
    return time.perf_counter() - began, _used() - before


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def dupekit(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "dupekit", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main()
