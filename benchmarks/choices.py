"""What the trainers' defaults are worth: held-out agreement with the given labels under other options.

    python benchmarks/choices.py DATASET [--pairs 1] [--seeds 1 2] [--try probe --try "torch fit=stretch epochs=15"]

Each line is a round of `--pairs` pairs a seed, of a trainer with its default options but for those named. The agreement
is the mean over the runs of the share of held-out images whose predicted class is the given one; on a dataset whose
labels are mostly right that is the accuracy. Times are of training alone, of one run, on a machine that may be busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from reporting import machine

from dupekit import Choices
from dupekit.project import Project

VARIANTS = [
    "probe",
    "probe log_size=false",
    "torch",
    "torch log_size=false",
    "torch fit=stretch",
    "torch rotations=false",
    "torch image_size=32",
    "torch image_size=64",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--try",
        dest="variants",
        action="append",
        metavar="TRAINER [KEY=VALUE ...]",
        help=f"may be repeated; without it: {', '.join(VARIANTS)}",
    )
    a = parser.parse_args()
    variants = a.variants or VARIANTS
    width = max(map(len, variants)) + 2
    print(f"{'':{width}}{'mean':>8}{'least':>8}{'most':>8}{'n':>4}{'s a run':>9}")
    for variant in variants:
        trainer, *options = variant.split()
        results = []
        for seed in a.seeds:
            results += one_round(
                a.dataset, trainer, dict(option.split("=", 1) for option in options), a.pairs, seed
            )
        agreements = [result["agreement"] for result in results]
        seconds = statistics.median(result["seconds_training"] for result in results)
        print(
            f"{variant:{width}}{statistics.mean(agreements):8.3f}{min(agreements):8.3f}{max(agreements):8.3f}"
            f"{len(agreements):4}{seconds:9.1f}",
            flush=True,
        )
    print(machine())


def one_round(dataset: Path, trainer: str, options: dict[str, object], pairs: int, seed: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as place:
        project = Project.create(dataset, Path(place))
        project.scan()
        done = project.train(Choices(trainer=trainer, pairs=pairs, seed=seed, options=options))
        if done.failed:
            raise SystemExit(f"{done.failed[0]}")
        return [json.loads(file.read_text()) for file in Path(place).glob("rounds/01/runs/*/result.json")]


if __name__ == "__main__":
    main()
