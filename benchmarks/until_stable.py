"""`train --until-stable`: how many pairs it runs, and what is lost and saved against all ten.

    python benchmarks/until_stable.py WORKDIR DATASET [--seeds 1 2 3 4 5] [-- further options of `dupekit train`]

For each seed 5 % of the labels of a copy of DATASET are made wrong (half uniform, half between the classes most alike), and
two projects are trained on it with the same splits: one with ten pairs, one until the list is stable. Features are in the cache before a
clock starts. DATASET is only read. WORKDIR must not exist yet.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from average_precision import average_precision
from planted_round import plant
from reporting import machine

from dupekit.jobs.folder import RoundFolder
from dupekit.project import Project
from dupekit.rounds.stability import STABLE, Stability
from dupekit.rounds.tally import tally
from dupekit.workflow.ingest import readings

PAIRS = 10


@dataclass(frozen=True, slots=True)
class Took:
    """What a command took."""

    seconds: float
    cpu_seconds: float
    """Of all its processes: others on the machine have less of a part in it."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One seed."""

    seed: int
    listed: int
    """Images above a score of 2, after ten pairs."""
    precision: list[float]
    """Average precision after each of ten pairs."""
    precision_stopped: float
    changed: list[float]
    """What each pair from the second on changed."""
    stopped: int
    """Pairs that were run until the list was stable."""
    ten: Took
    until_stable: Took

    @property
    def lost(self) -> float:
        return self.precision[-1] - self.precision_stopped


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("train", nargs="*", default=["--trainer", "probe"])
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True)
    print(f"`dupekit train {' '.join(arguments.train)}`; {machine()}")
    print("seed  above 2  pairs  average precision: ten, stopped, lost   CPU seconds: ten, stopped   seconds")
    found = []
    for seed in arguments.seeds:
        one = compared(arguments.workdir, arguments.dataset, seed, arguments.train)
        found.append(one)
        print(
            f"{one.seed:4}  {one.listed:7}  {one.stopped:5}  {one.precision[-1]:22.4f} {one.precision_stopped:8.4f}"
            f" {one.lost:7.4f}  {one.ten.cpu_seconds:17.1f} {one.until_stable.cpu_seconds:8.1f}"
            f" {one.ten.seconds:9.1f} {one.until_stable.seconds:6.1f}",
            flush=True,
        )
    show(found)


def show(found: list[Compared]) -> None:
    print(f"\nMeans of n = {len(found)} seeds\npairs  average precision  changed")
    for pair in range(PAIRS):
        precision = statistics.mean(one.precision[pair] for one in found)
        changed = f"{statistics.mean(one.changed[pair - 1] for one in found):7.1%}" if pair else ""
        print(f"{pair + 1:5}  {precision:17.4f}  {changed}")
    lost = [one.lost for one in found]
    cpu = [one.until_stable.cpu_seconds / one.ten.cpu_seconds for one in found]
    print(
        f"Stopped after {min(o.stopped for o in found)} to {max(o.stopped for o in found)} pairs (a pair changes less than"
        f" {STABLE:.0%}): lost {min(lost):.4f} to {max(lost):.4f}, mean {statistics.mean(lost):.4f}; CPU time {min(cpu):.2f}"
        f" to {max(cpu):.2f} of that of ten pairs, mean {statistics.mean(cpu):.2f}."
    )


def compared(workdir: Path, dataset: Path, seed: int, train: list[str]) -> Compared:
    data = workdir / "dataset"
    truth = plant(dataset, data, seed=seed)
    wrong = {path for path, label in truth.items() if path.partition("/")[0] != label}
    if not (workdir / "cache").exists():
        trained(workdir, "warm", seed, [*train, "--pairs", "1"])
    ten = trained(workdir, "ten", seed, [*train, "--pairs", str(PAIRS)])
    until_stable = trained(workdir, "stopped", seed, [*train, "--pairs", str(PAIRS), "--until-stable"])
    stopped = Project(workdir / "stopped").status().pairs_done
    planted = np.array([path in wrong for path in RoundFolder(workdir / "ten", 1).of_round.paths])
    scores = [scores_after(workdir / "ten", pairs) for pairs in range(1, PAIRS + 1)]
    result = Compared(
        seed=seed,
        listed=Stability.between(scores[-1], scores[-1]).images,
        precision=[average_precision(one, planted) for one in scores],
        precision_stopped=average_precision(scores_after(workdir / "stopped", stopped), planted),
        changed=[Stability.between(*two).share for two in pairwise(scores)],
        stopped=stopped,
        ten=ten,
        until_stable=until_stable,
    )
    for name in ("dataset", "ten", "stopped"):
        shutil.rmtree(workdir / name)
    return result


def trained(workdir: Path, name: str, seed: int, train: list[str]) -> Took:
    """What a training took in a new project with what is cached already, which it is given back."""
    project, cache = workdir / name, workdir / "cache"
    call("init", str(workdir / "dataset"), "-p", str(project))
    if cache.exists():
        shutil.rmtree(project / "cache", ignore_errors=True)
        cache.rename(project / "cache")
    began, used = time.perf_counter(), cpu_seconds()
    call("train", "-p", str(project), "--seed", str(seed), *train)
    took = Took(time.perf_counter() - began, cpu_seconds() - used)
    (project / "cache").rename(cache)
    return took


def cpu_seconds() -> float:
    """Of all processes that were started here and have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def scores_after(project: Path, pairs: int) -> np.ndarray:
    """Shape (n,): the scores by the first pairs."""
    folder = RoundFolder(project, 1)
    of_round = folder.of_round
    ids, labels = np.array(of_round.ids, np.int64), np.array(of_round.labels, np.int64)
    with readings(folder, range(1, pairs + 1), ids) as runs:
        return np.concatenate([part.score for part in tally(labels, len(of_round.classes), runs)])


def call(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dupekit", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"dupekit {' '.join(command)}: {done.stderr}")


if __name__ == "__main__":
    main()
