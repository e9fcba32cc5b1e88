"""A whole round on one GPU: scan, ten pairs of trainings, predictions, flagged list, on CIFAR-10 with planted errors.

    python benchmarks/gpu_round.py cifar10-train.tar.xz [--repeats 3] [--at-once 1 2 4]

The archive holds a folder a class. 5 % of the labels are made wrong (half uniform, half to look-alike classes; seed 1).
Each repeat is a fresh project with fresh folders for what PyTorch compiles, so nothing is cached but by the file system;
the commands are those of a user. Printed are the seconds of each command, of the trainings and predictions alone,
held-out accuracy on the clean labels, average precision of the ranking, and device memory: n, median, spread, machine
and versions, and how the trainings were done. Each run is told as it ends, so that what was done is seen also where the
benchmark is cut off. It needs no network, asks nothing, and ends with an error where there is
no CUDA device that PyTorch can use. `--device cpu --images 500 --pairs 1` tries the script itself anywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import lzma
import shutil
import statistics
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from average_precision import average_precision
from planted_round import plant, run
from reporting import cuda, forget_what_was_compiled, machine, show

from dupekit.project import Project

# A photograph may be mirrored, but is not turned or seen upside down; moved by two pixels it is the same.
OPTIONS = ("flips=horizontal", "rotations=false", "shift_px=2", "width=64", "epochs=16")

TOLD = (
    "device",
    "precision",
    "compiled",
    "captured",
    "pixels",
    "image_size",
    "epochs",
    "batch_size",
    "micro_batch",
)
"""What each run notes of itself that says how the figures came about."""


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
    if not a.dataset.exists():
        sys.exit(f"There is no {a.dataset}: give the archive or its folder. Nothing was run.")
    print(machine(cuda(a.device) if a.device != "cpu" else "no GPU used"), flush=True)
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
            told: set[str] = set()
            for repeat in range(a.repeats):
                found, how = one_round(a, Path(place), options, truth, seed=repeat)
                for name, value in found.items():
                    rows.setdefault(name, []).append(value)
                told |= how
            show(f"options {' '.join(options)}", rows)
            print("\n".join(sorted(told)), flush=True)


def one_round(
    a: argparse.Namespace, place: Path, options: list[str], truth: dict[str, str], *, seed: int
) -> tuple[dict[str, float], set[str]]:
    """Its figures, and how its trainings were done: one text, unless they differ among each other."""
    project = place / "project"
    forget_what_was_compiled(place / "compiled")
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    run(seconds, "init", str(place / "planted"), "-p", str(project))
    settings = [part for option in options for part in ("--set", option)]
    with each_run_told(project):
        run(
            seconds, "train", "-p", str(project), "--trainer", "torch", "--device", a.device, "--pairs", str(a.pairs),
            "--seed", str(seed), *settings,
        )  # fmt: skip
    run(seconds, "flag", "-p", str(project), "--json")
    whole = time.perf_counter() - began
    opened = Project(project)
    scores = opened.scores()
    wrong = [truth[path] != given for path, given in zip(scores.paths, scores.given, strict=True)]
    right = [made.label == truth[made.path] for made in opened.predictions()]
    files = sorted(project.glob("rounds/01/runs/*/result.json"))
    results = [(file.stat().st_mtime, json.loads(file.read_text())) for file in files]
    found = {
        "whole, s": whole,
        **{f"  {name}, s": value for name, value in seconds.items()},
        **of_the_runs(results),
        "accuracy on the clean labels": float(np.mean(right)),
        "average precision": average_precision(scores.scores, wrong),
    }
    shutil.rmtree(project)
    told = {", ".join(f"{name} {result['notes'].get(name, '?')}" for name in TOLD) for _, result in results}
    return found, told


@contextlib.contextmanager
def each_run_told(project: Path) -> Iterator[None]:
    """Prints what each run took, a line when its result is there."""
    began, told, ended = time.perf_counter(), set[Path](), threading.Event()

    def tell() -> None:
        for file in sorted(set(project.glob("rounds/*/runs/*/result.json")) - told):
            told.add(file)
            result = json.loads(file.read_text())
            parts = {
                name: result.get(name) for name in ("seconds_training", "seconds_predicting", "agreement")
            }
            parts |= {
                name: result.get("notes", {}).get(name)
                for name in ("training_seconds", "compile_seconds", "loss")
            }
            print(
                f"  {time.perf_counter() - began:6.1f} s {result['name']} {result['status']}",
                parts,
                flush=True,
            )

    def watch() -> None:
        while not ended.wait(0.25):
            tell()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        tell()


def of_the_runs(results: Sequence[tuple[float, dict[str, Any]]]) -> dict[str, float]:
    """Figures of the results, each with the time when it was written, which is finer than what is in it.

    A worker predicts and writes one run after the other. What its first one took beside the training itself is done
    once: PyTorch and its compiler are started, pixels decoded, an exporter made.
    """
    written, first = min(results, key=lambda result: result[0])
    began = written - first["seconds_training"] - first["seconds_predicting"]
    lasted = max(at for at, _ in results) - began
    once = first["seconds_training"] - first["notes"]["training_seconds"]
    every = [result for _, result in results]
    found = {
        "  first run's start to last result, s": lasted,
        "    of it what is done once, s": once,
        "    trainings and their predictions, s": lasted - once,
        "      sum of trainings, s": sum(result["notes"]["training_seconds"] for result in every),
        "      sum of predictions, s": sum(result["seconds_predicting"] for result in every),
        "images/s of one training": statistics.median(r["notes"]["images_per_second"] for r in every),
    }
    for name, text in (
        ("compile_seconds", "compiling (once), s"),
        ("memory_mib", "memory of GPU or process, MiB"),
    ):
        noted = [result["notes"][name] for result in every if result["notes"].get(name) is not None]
        if noted:
            found[text] = max(noted)
    return found


def unpacked(dataset: Path, place: Path) -> Path:
    if dataset.is_dir():
        return dataset
    try:
        with tarfile.open(dataset) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later
            archive.extractall(place / "archive")
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0]
        sys.exit(f"{dataset} is no whole archive, or there is no room for it: {reason} Nothing was run.")
    folders = list((place / "archive").iterdir())
    if len(folders) != 1 or not folders[0].is_dir():
        sys.exit(f"{dataset} must hold one folder, with a folder a class in it. Nothing was run.")
    return folders[0]


def some_of(dataset: Path, target: Path, images: int) -> Path:
    for label in sorted(dataset.iterdir()):
        (target / label.name).mkdir(parents=True)
        for file in sorted(label.iterdir())[:images]:
            shutil.copy2(file, target / label.name)
    return target


if __name__ == "__main__":
    main()
