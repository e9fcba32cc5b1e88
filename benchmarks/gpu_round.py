"""A whole round on one GPU: scan, ten pairs of trainings, predictions, flagged list, on CIFAR-10 with planted errors.

    python benchmarks/gpu_round.py cifar10-train.tar.xz [--repeats 3] [--at-once 1 2 4]

The archive holds a folder a class. 5 % of the labels are made wrong (half uniform, half to look-alike classes; seed 1).
Each repeat is a fresh project, so nothing is cached but by the file system; the commands are those of a user. Printed
are the seconds of each command, of the trainings and predictions alone, held-out accuracy on the clean labels, average
precision of the ranking, and device memory: n, median, spread, machine and versions. It needs no network, asks
nothing, and ends with an error where there is no CUDA device. `--device cpu --images 500 --pairs 1` tries the script
itself anywhere.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from planted_round import plant, run
from reporting import machine, show

from dupekit.devices import cuda_devices
from dupekit.evaluate import average_precision
from dupekit.project import Project

# A photograph may be mirrored, but is not turned or seen upside down; moved by two pixels it is the same.
OPTIONS = ("flips=horizontal", "rotations=false", "shift_px=2")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="the archive, or the folder that was in it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument(
        "--at-once", type=int, nargs="+", default=[1], help="runs side by side, each measured"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further options")
    parser.add_argument("--images", type=int, default=0, help="only so many of each class")
    parser.add_argument("--device", default="cuda")
    a = parser.parse_args()
    if a.device != "cpu" and not cuda_devices():
        sys.exit("There is no CUDA device on this machine: this benchmark measures one. Nothing was run.")
    import torch

    print(machine(torch.cuda.get_device_name() if a.device != "cpu" else "no GPU used"), flush=True)
    with tempfile.TemporaryDirectory() as place:
        dataset = unpacked(a.dataset, Path(place))
        if a.images:
            dataset = some_of(dataset, Path(place) / "some", a.images)
        truth = plant(dataset, Path(place) / "planted")
        wrong = sum(path.partition("/")[0] != true for path, true in truth.items())
        print(f"{len(truth)} images, {wrong} with a planted wrong label, {2 * a.pairs} trainings", flush=True)
        for at_once in a.at_once:
            options = [*OPTIONS, f"runs_at_once={at_once}", *a.set]
            rows: dict[str, list[float]] = {}
            for repeat in range(a.repeats):
                for name, value in one_round(a, Path(place), options, truth, seed=repeat).items():
                    rows.setdefault(name, []).append(value)
            show(f"options {' '.join(options)}", rows)


def one_round(
    a: argparse.Namespace, place: Path, options: list[str], truth: dict[str, str], *, seed: int
) -> dict[str, float]:
    project = place / "project"
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    run(seconds, "init", str(place / "planted"), "-p", str(project))
    settings = [part for option in options for part in ("--set", option)]
    run(
        seconds, "train", "-p", str(project), "--trainer", "torch", "--device", a.device, "--pairs", str(a.pairs),
        "--seed", str(seed), *settings,
    )  # fmt: skip
    run(seconds, "flag", "-p", str(project), "--json")
    whole = time.perf_counter() - began
    opened = Project(project)
    scores = opened.scores()
    wrong = [truth[row[0]] != row[1] for row in scores]
    right = [predicted == truth[path] for path, predicted in opened.predictions()]
    results = [json.loads(f.read_text()) for f in sorted(project.glob("rounds/01/runs/*/result.json"))]
    found = {
        "whole, s": whole,
        **{f"  {name}, s": value for name, value in seconds.items()},
        "  sum of trainings, s": sum(r["notes"]["training_seconds"] for r in results),
        "  sum of predictions, s": sum(r["seconds_predicting"] for r in results),
        "images/s of one training": statistics.median(r["notes"]["images_per_second"] for r in results),
        "accuracy on the clean labels": float(np.mean(right)),
        "average precision": average_precision([row[4] for row in scores], wrong),
    }
    shutil.rmtree(project)
    return found


def unpacked(dataset: Path, place: Path) -> Path:
    if dataset.is_dir():
        return dataset
    with tarfile.open(dataset) as archive:
        archive.extractall(place / "archive", filter="data")
    (folder,) = (place / "archive").iterdir()
    return folder


def some_of(dataset: Path, target: Path, images: int) -> Path:
    for label in sorted(dataset.iterdir()):
        (target / label.name).mkdir(parents=True)
        for file in sorted(label.iterdir())[:images]:
            shutil.copy2(file, target / label.name)
    return target


if __name__ == "__main__":
    main()
