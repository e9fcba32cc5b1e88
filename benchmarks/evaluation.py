"""What `dupekit evaluate` says of a correction, by a test folder with true labels and by the images that nobody disputed.

    python benchmarks/evaluation.py DATASET WORKDIR [--shares .05 .15] [--seeds 1 2 3] [-- further options of `dupekit train`]

Of each class every fourth image, at random, goes into a test folder. In the rest a share of the labels is made wrong (half
uniform, half between the classes most alike). The known truth plays the technician, on as many suspects as two times the errors,
then both evaluations are made. DATASET itself is only read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from planted_round import plant, play_technician

from dupekit.dataset.scan import list_dataset
from dupekit.files.paths import real_path
from dupekit.project import Project


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("workdir", type=Path, help="must not exist yet")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.15])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("train", nargs="*", default=["--trainer", "probe", "--pairs", "10"])
    arguments = parser.parse_args()
    workdir: Path = arguments.workdir.absolute()
    workdir.mkdir(parents=True)
    print(
        "| wrong | seed | corrected | tested with | measure | before | after | change | 95 % | p images | p seeds | s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for share in arguments.shares:
        for seed in arguments.seeds:
            one_round(arguments.dataset, workdir, share, seed, arguments.train)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


def one_round(dataset: Path, workdir: Path, share: float, seed: int, train: list[str]) -> None:
    home = workdir / f"{share}-{seed}"
    hold_out(dataset, home / "clean", home / "test", seed=seed)
    truth = plant(home / "clean", home / "planted", share=share, seed=seed)
    wrong = {path for path, true in truth.items() if path.partition("/")[0] != true}
    project = home / "project"
    run("init", home / "planted", "-p", project)
    if (workdir / "cache").is_dir():  # the same images each time
        shutil.copytree(workdir / "cache", project / "cache")
    run("train", "-p", project, *train)
    run("export", "-p", project, "--limit", 2 * len(wrong))
    opened = Project(project)
    export, tree = opened.tree()
    files = opened.manifest_of(export).files
    play_technician(tree, files, truth)
    run("collect", "--yes", "-p", project)
    run("apply", home / "corrected", "-p", project)
    corrected = f"{len(wrong & {file.original for file in files})} of {len(wrong)}"
    for name, options in (("folder", ["--test", home / "test"]), ("undisputed", [])):
        started = time.perf_counter()
        found = json.loads(run("evaluate", "-p", project, "--json", *options))
        seconds = time.perf_counter() - started
        for measure, one in found["measures"].items():
            low, high = (f"{100 * one[end]:+.1f}" for end in ("low", "high"))
            print(
                f"| {share:.0%} | {seed} | {corrected} | {found['tested']}, {name} | {measure} | {one['before']:.3f}"
                f" | {one['after']:.3f} | {100 * one['difference']:+.1f} | {low} to {high} | {one['p_images']:.4f}"
                f" | {one['p_seeds'] or 1:.4f} | {seconds:.0f} |",
                flush=True,
            )
    shutil.copytree(project / "cache", workdir / "cache", dirs_exist_ok=True)


def hold_out(dataset: Path, clean: Path, test: Path, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    files = list_dataset(dataset).files
    labels = np.array([file.label for file in files])
    tested: set[int] = set()
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        tested.update(rows[: len(rows) // 4].tolist())
    for number, file in enumerate(files):
        new = real_path(test if number in tested else clean, file.path)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(real_path(dataset, file.path), new)


def run(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dupekit", *map(str, command)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
