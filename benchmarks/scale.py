"""What every command costs with many images: time, and the memory of its largest process.

    python benchmarks/scale.py WORKDIR [--sizes 20000 200000 1280000] [--decided 50000] [--pairs 10]

WORKDIR should lie on the file system to be measured; a dataset of tiny images in 100 classes is made there for each size, and kept.
The trainer is trivial (scale_plugin.py), so that what is left is dupekit's own cost. Each command is a process of its own. What is
compared: `walk` is os.walk with a stat for each file, `cp -al` what a corrected dataset of hard links costs at least, `raw inserts` is
sqlite3's executemany of as many predictions into the same table, in as many transactions. An exponent is the slope between the smallest and
the largest size, in logarithms: 1 means ten times the images cost ten times as much.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ingest import draw, prepare, written_bytes
from PIL import Image
from reporting import machine

from dupekit.ledger import Ledger, rounds
from dupekit.testing.data import register

CLASSES = 100
SIDE_PX = 12
LAUNCH = """
import json, os, sys, time
started = time.perf_counter()
_, status, used = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
cost = {"seconds": time.perf_counter() - started, "cpu_s": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}
with open(sys.argv[1], "w") as out: json.dump(cost, out)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""
"""Between this process and a command: the kernel counts to a process's memory what its parent held when it was started."""
WALK = "import os, sys\nfor at, _, files in os.walk(sys.argv[1]):\n    for name in files: os.stat(os.path.join(at, name))"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command, with all processes that it started."""

    seconds: float
    cpu_s: float
    """Processor time, which other work on the machine changes less."""
    mib: float
    """Of the largest process, at its peak."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 200_000, 1_280_000])
    parser.add_argument("--decided", type=int, default=50_000, help="Images exported and decided, at most.")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument(
        "--report", action="store_true", help="Print what was measured before, and measure nothing."
    )
    chosen = parser.parse_args()
    workdir = chosen.workdir.absolute()
    if not chosen.report:
        for size in chosen.sizes:
            measure(workdir, size, min(chosen.decided, size // 20), chosen.pairs)
    show({size: known(workdir, size) for size in chosen.sizes})
    print(machine())


def measure(workdir: Path, size: int, decided: int, pairs: int) -> None:
    dataset = make_dataset(workdir / f"images-{size}", size)
    project, corrected = workdir / f"project-{size}", workdir / f"corrected-{size}"
    for old in (project, corrected, workdir / f"linked-{size}"):
        shutil.rmtree(old, ignore_errors=True)
    environment = _with_plugin(workdir / "site")
    found: dict[str, Cost] = {}

    def step(name: str, *command: str) -> None:
        found[name] = run(command, workdir, environment)
        (workdir / f"costs-{size}.json").write_text(
            json.dumps({key: asdict(one) for key, one in found.items()})
        )
        print(
            f"{size:>9} {name:28}{found[name].seconds:9.1f} s {found[name].cpu_s:9.1f} s {found[name].mib:7.0f} MiB",
            flush=True,
        )

    def dupekit(name: str, *arguments: str) -> None:
        step(name, sys.executable, "-m", "dupekit", *arguments, "-p", str(project))

    step("walk", sys.executable, "-c", WALK, str(dataset))
    dupekit("init", "init", str(dataset))
    step(
        "walk", sys.executable, "-c", WALK, str(dataset)
    )  # now that it lies in the system's memory, as for scan
    dupekit("scan", "scan")
    trivial = ("--trainer", "trivial", "--validator", "trivial", "--pairs", str(pairs))
    dupekit("train", "train", *trivial, "--device", "cpu")
    step("raw inserts", sys.executable, __file__, "--raw", str(workdir), str(size), str(2 * pairs))
    dupekit("status", "status")
    dupekit("flag", "flag")
    tree = project / "tree"
    dupekit("export", "export", str(tree), "--limit", str(decided))
    decide(tree, every=2)
    dupekit("collect", "collect", str(tree), "--yes")
    decide(tree, every=1)
    dupekit("collect again", "collect", str(tree), "--yes")
    dupekit("status after verdicts", "status")
    dupekit("flag after verdicts", "flag")
    dupekit("apply --mode hardlink", "apply", str(corrected), "--mode", "hardlink")
    step("cp -al", "cp", "-al", str(dataset), str(workdir / f"linked-{size}"))
    dupekit("verify --quick", "verify", "--quick")
    dupekit("report", "report")
    dupekit("export-results", "export-results", str(project / "results.csv"))
    dupekit("evaluate", "evaluate")
    dupekit("next", "next", str(corrected))


def run(command: Sequence[str], workdir: Path, environment: dict[str, str]) -> Cost:
    """Raises SystemExit with what it said where it fails."""
    program = shutil.which(command[0])
    cost = workdir / "cost.json"
    launch = [sys.executable, "-I", "-S", "-c", LAUNCH, str(cost), str(program), *command[1:]]
    done = subprocess.run(
        launch, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return Cost(**json.loads(cost.read_text()))


def make_dataset(place: Path, size: int) -> Path:
    """Different images of noise; a dataset that is there already is taken as it is."""
    if place.exists():
        return place
    making = place.with_name(f"{place.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    rng = np.random.default_rng(size)
    for label in range(CLASSES):
        folder = making / f"class{label:03d}"
        folder.mkdir(parents=True)
        for number in range(label, size, CLASSES):
            pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX), np.uint8)
            Image.fromarray(pixels).save(folder / f"D2014T{number:09d}_roi.png", compress_level=1)
    return making.rename(place)


def decide(tree: Path, *, every: int) -> None:
    """Deletes one image in `every` of those that are left in the first half of the classes, and finishes the others."""
    done = tree / "_done"
    done.mkdir(exist_ok=True)
    classes = sorted(folder for folder in tree.iterdir() if folder.name[0] not in "._")
    for place, folder in enumerate(classes):
        if place % 2:
            if every == 1:
                folder.rename(done / folder.name)
            continue
        for number, file in enumerate(sorted(folder.iterdir())):
            if number % every == 0:
                file.unlink()


def raw_inserts(workdir: Path, images: int, runs: int) -> None:
    """Into the same table, by nothing but sqlite3."""
    path = workdir / "raw.db"
    path.unlink(missing_ok=True)
    with Ledger(path, create=True) as ledger:
        prepare(ledger, images, runs, None)
        of_runs = draw(images)
        seconds, before = 0.0, written_bytes()
        for run_ in rounds.runs(ledger, 1):
            one = next(of_runs)
            columns = (one.images, one.predicted, one.probability, one.probability_given)
            rows = zip([run_.number] * len(one.images), *(c.tolist() for c in columns), strict=True)
            started = time.perf_counter()
            with ledger.write() as db:
                db.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?, ?)", rows)
            seconds += time.perf_counter() - started
        print(seconds, written_bytes() - before)
    path.unlink()


def known(workdir: Path, size: int) -> dict[str, Cost]:
    found = json.loads((workdir / f"costs-{size}.json").read_text())
    return {name: Cost(**cost) for name, cost in found.items()}


def show(costs: dict[int, dict[str, Cost]]) -> None:
    """A table a figure, with the exponents."""
    for title, figure in (
        ("Seconds", "seconds"),
        ("Processor time, s", "cpu_s"),
        ("Memory of the largest process, MiB", "mib"),
    ):
        print(f"\n{title}\n{'':28}" + "".join(f"{size:>12,}" for size in costs) + f"{'exponent':>12}")
        for name in next(iter(costs.values())):
            values = [getattr(one[name], figure) for one in costs.values()]
            print(
                f"{name:28}"
                + "".join(f"{value:12.1f}" for value in values)
                + f"{exponent(costs, values):12.2f}"
            )


def exponent(costs: dict[int, dict[str, Cost]], values: list[float]) -> float:
    sizes = list(costs)
    if len(sizes) < 2:
        return math.nan
    return math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0])


def _with_plugin(site: Path) -> dict[str, str]:
    """The environment of a process that finds the trivial plugin."""
    target = {"trivial": "scale_plugin:Trivial"}
    register(site, {"dupekit.trainers": target, "dupekit.validators": target}, distribution="dupekit_scale")
    paths = [str(site), str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--raw"]:
        raw_inserts(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
