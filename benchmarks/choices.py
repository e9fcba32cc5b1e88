"""What the trainers' defaults are worth: held-out agreement with the given labels under other options.

    python benchmarks/choices.py DATASET [--pairs 1] [--seeds 1 2]

Each line is a round of `--pairs` pairs with the default options but for those named. The agreement is the mean over its
runs of the share of held-out images whose predicted class is the given one; on a dataset whose labels are mostly
right that is the accuracy. Times are of training alone, of one run, on a machine that may be busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from reporting import machine

from dupekit.project import Project

VARIANTS: list[tuple[str, dict[str, object]]] = [
    ("probe", {}),
    ("probe", {"log_size": False}),
    ("torch", {}),
    ("torch", {"log_size": False}),
    ("torch", {"image_size": 32}),
    ("torch", {"image_size": 64}),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    print(f"{'trainer':8}{'options':24}{'median':>8}{'least':>8}{'most':>8}{'n':>4}{'s a run':>9}")
    for trainer, options in VARIANTS:
        agreements, seconds = [], []
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory() as place:
                project = Project.create(arguments.dataset, Path(place))
                project.scan()
                done = project.train(trainer=trainer, pairs=arguments.pairs, seed=seed, options=dict(options))
                if done.failed:
                    raise SystemExit(f"{done.failed[0]}")
                for file in sorted(Path(place).glob("rounds/01/runs/*/result.json")):
                    result = json.loads(file.read_text())
                    agreements.append(result["agreement"])
                    seconds.append(result["seconds_training"])
        named = ", ".join(f"{name}={value}" for name, value in options.items()) or "defaults"
        print(
            f"{trainer:8}{named:24}{statistics.median(agreements):8.3f}{min(agreements):8.3f}"
            f"{max(agreements):8.3f}{len(agreements):4}{statistics.median(seconds):9.1f}",
            flush=True,
        )
    print(machine())


if __name__ == "__main__":
    main()
