"""A whole round on real images with planted label errors: what it finds, how long it takes, how much memory.

    python benchmarks/planted_round.py DATASET WORKDIR [-- further options of `dupekit train`]

Copies DATASET into WORKDIR with 5 % of its labels made wrong (half uniform, half between the classes most
alike; seed 1), takes it through every command of dupekit as a user would type them, plays the technician
by the known truth on the first batch, and prints what was found, and what other lists would hold. DATASET itself is only
read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from average_precision import average_precision

from dupekit.dataset.pixels import square_pixels
from dupekit.dataset.scan import list_dataset
from dupekit.demo.planting import centroid_likeness, plant_errors
from dupekit.files.names import unescape
from dupekit.files.paths import real_path
from dupekit.ledger.tallies import Scores
from dupekit.project import Project
from dupekit.review.manifest import DONE, ExportedFile

SHARE, SEED = 0.05, 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("workdir", type=Path, help="must not exist yet")
    parser.add_argument("train", nargs="*", default=["--trainer", "probe", "--pairs", "10"])
    arguments = parser.parse_args()
    workdir: Path = arguments.workdir.absolute()
    workdir.mkdir(parents=True)
    truth = plant(arguments.dataset, workdir / "planted")
    wrong = {path for path, true in truth.items() if path.partition("/")[0] != true}
    print(f"{len(truth)} images, {len(wrong)} with a planted wrong label (seed {SEED})")

    project = workdir / "project"
    seconds: dict[str, float] = {}
    run(seconds, "init", str(workdir / "planted"), "-p", str(project))
    run(seconds, "train", "-p", str(project), *arguments.train)
    suspects = [row["path"] for row in run(seconds, "flag", "-p", str(project), "--json")["dupes"]]
    opened = Project(project)
    counted = opened.scores()
    ap = average_precision(counted.scores, [path in wrong for path in counted.paths])
    right = [made.label == truth[made.path] for made in opened.predictions()]
    run(seconds, "export", "-p", str(project))
    tree = opened.tree()[1]
    files = opened.manifest_of(opened.tree()[0]).files
    play_technician(tree, files, truth)
    run(seconds, "collect", "--yes", "-p", str(project))
    run(seconds, "apply", str(workdir / "corrected"), "-p", str(project))
    left = count_wrong(workdir / "corrected", truth)

    reviewed = {file.original: file.suggested for file in files}
    found = wrong & reviewed.keys()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    result = {
        "images": len(truth),
        "planted": len(wrong),
        "suspects": len(suspects),
        "planted among them": len(wrong & set(suspects)),
        "reviewed": len(reviewed),
        "found": len(found),
        "missed": len(wrong - found),
        "right label suggested, of those found": sum(reviewed[path] == truth[path] for path in found),
        "average_precision": round(ap, 4),
        "held-out accuracy on true labels": round(float(np.mean(right)), 4),
        "wrong_labels_after": left,
        "lists": lists(counted, wrong, opened.flag().pairs),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "largest process, MiB": round(peak),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    (workdir / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result.items():
        if name == "lists":
            for title, (images, planted) in value.items():
                print(f"{title:40} {images}, with {planted} planted")
        else:
            print(f"{name.replace('_', ' '):40} {value}")


def lists(counted: Scores, wrong: set[str], pairs: int) -> dict[str, tuple[int, int]]:
    """By votes, and as many of the highest scores: images, and planted errors among them."""
    planted = np.array([path in wrong for path in counted.paths])
    ranked = planted[np.argsort(-counted.scores, kind="stable")]
    found = {}
    for votes in range(-(-pairs * 4 // 5), pairs + 1):
        flagged = counted.votes >= votes
        images = int(flagged.sum())
        found[f"{votes} of {pairs} votes"] = (images, int(planted[flagged].sum()))
        found[f"the first {images} by score"] = (images, int(ranked[:images].sum()))
    for images in (50, 100, 200):
        found[f"the first {images} by score"] = (images, int(ranked[:images].sum()))
    return found


def plant(dataset: Path, target: Path, *, share: float = SHARE, seed: int = SEED) -> dict[str, str]:
    """Writes the copy; returns the path of each image in it -> its true label."""
    listing = list_dataset(dataset)
    number = {label: i for i, label in enumerate(listing.classes)}
    labels = np.array([number[file.label] for file in listing.files])
    features = []
    for file in listing.files:
        pixels = square_pixels(real_path(dataset, file.path).read_bytes(), size_px=24, channels=1)
        features.append(np.append(pixels.ravel() / 255, np.log(file.size)))
    planted = plant_errors(
        labels, centroid_likeness(np.array(features), labels, len(number)), share=share, seed=seed
    )
    truth: dict[str, str] = {}
    for index, (file, label) in enumerate(zip(listing.files, planted.tolist(), strict=True)):
        name = f"{index:06d}_{Path(unescape(file.path)).name}"
        new = target / unescape(listing.classes[label]) / name
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(real_path(dataset, file.path), new)
        truth[f"{listing.classes[label]}/{name}"] = file.label
    return truth


def run(seconds: dict[str, float], *command: str) -> dict[str, list[dict[str, str]]]:
    print(f"$ dupekit {' '.join(command)}")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dupekit", *command], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds[command[0]] = time.perf_counter() - started
    if "--json" in command:
        return json.loads(done.stdout)
    print("\n".join(done.stdout.strip().splitlines()[-2:]))
    return {}


def play_technician(tree: Path, files: list[ExportedFile], truth: dict[str, str]) -> None:
    for file in files:
        path = real_path(tree, file.path)
        if truth[file.original] == file.given:
            path.unlink()
        elif truth[file.original] != file.suggested:
            new = tree / truth[file.original]
            path.rename(new / path.name)
    for folder in sorted({file.given for file in files}):
        (tree / folder).rename(tree / DONE / folder)


def count_wrong(corrected: Path, truth: dict[str, str]) -> int:
    label_of = {path.rpartition("/")[2]: label for path, label in truth.items()}
    return sum(path.parent.name != label_of[path.name] for path in corrected.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
