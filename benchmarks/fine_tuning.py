"""How well the torch trainer judges with other options, on a CPU and few images: planted errors and a person's own.

    python benchmarks/fine_tuning.py WORKDIR --plankton DIR --cifar DIR --annotator CSV
        --variant "compact: --trainer torch" --variant "no-smoothing: --trainer torch --set label_smoothing=0"

Cells: plankton-small with 5 % of its labels made wrong, uniformly and to look-alikes; some images of CIFAR-10, drawn by the seed, with
what one person called each. CIFAR-10 is mirrored but not turned in the trainings of `torch`. Errors, splits and training seeds are the
same for all variants. Each round is kept in WORKDIR: the same command goes on where it was stopped.

Prints, for each cell and variant, the average precision of the score, and the held-out accuracy of the mean prediction on the true
labels: mean over the seeds, and the gain on the first variant, with the least and the most. Processor seconds are those of
`dupekit train`: pixels and maps of frozen blocks lie in a cache that all variants share, so the first to use them pays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from average_precision import average_precision
from numpy.typing import NDArray
from quality_cells import Cell, Place, Round, Variant, make_round, read_round
from reporting import machine
from sources import Source, cifar, folders

from dupekit.rounds.tally import score

SHARES = {"uniform": 0.05, "look-alike": 0.05, "annotator": None}
KINDS = {"uniform": "plankton-small", "look-alike": "plankton-small", "annotator": "cifar10"}
PHOTOGRAPHS = ("--set", "flips=horizontal", "--set", "rotations=false")


def main() -> None:
    a = arguments()
    cells = [Cell(KINDS[kind], kind, SHARES[kind], seed) for seed in a.seeds for kind in a.kinds]
    for cell in cells if not a.report else ():
        source = source_of(a, cell)
        for variant in a.variant:
            place = place_of(a, variant)
            place.begin(variant)
            if not place.round_file(variant, cell).exists():
                make_round(place, variant, cell, source)
                print(f"{variant.name}: {cell.name}", file=sys.stderr, flush=True)
    for variant in a.variant:
        print(f"{variant.name}: dupekit train {place_of(a, variant).options_of(variant)}")
    for row in dict.fromkeys(cell.row for cell in cells):
        print(f"\n{table(a, [cell for cell in cells if cell.row == row])}")
    print(f"\n{a.pairs} pairs, {a.images} images of CIFAR-10; {machine()}")


def place_of(a: argparse.Namespace, variant: Variant) -> Place:
    common = {"cifar10": PHOTOGRAPHS} if "torch" in variant.options else {}
    return Place(a.workdir, a.pairs, repetitions=0, common=common)


def source_of(a: argparse.Namespace, cell: Cell) -> Source:
    if cell.kind == "annotator":
        return cifar(a.cifar, a.annotator, seed=cell.seed, images=a.images)
    return folders(cell.source, a.plankton)


def table(a: argparse.Namespace, cells: Sequence[Cell]) -> str:
    """Of one row: the seeds that the variant and the first one both have."""
    lines = [f"{cells[0].row:28} {'n':>2}  precision and gain{'':22}accuracy and gain{'':20}CPU s (median)"]
    rounds = {
        variant.name: {
            cell.seed: read for cell in cells if (read := read_round(place_of(a, variant), variant, cell))
        }
        for variant in a.variant
    }
    against = rounds[a.variant[0].name]
    for name, made in rounds.items():
        seeds = sorted(made.keys() & against.keys())
        if seeds:
            found = np.array([worth(made[seed]) for seed in seeds])
            gains = found - [worth(against[seed]) for seed in seeds]
            figures = "   ".join(
                f"{mean:.3f} {gain.mean():+.3f} ({gain.min():+.3f} to {gain.max():+.3f})"
                for mean, gain in zip(found.mean(axis=0), gains.T, strict=True)
            )
            spent = np.median([made[seed].cpu_seconds for seed in seeds])
            lines.append(f"{name:28} {len(seeds):2}  {figures}   {spent:.0f}")
    return "\n".join(lines)


def worth(made: Round) -> NDArray[np.float64]:
    """Average precision of the score; accuracy on the true labels."""
    mean, rows = made.pairs.astype(np.float64).mean(axis=0), np.arange(len(made.given))
    right = float((mean.argmax(axis=1) == made.truth).mean())
    given = mean[rows, made.given].copy()
    mean[rows, made.given] = -1
    return np.array([average_precision(score(given, mean.max(axis=1)), made.given != made.truth), right])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--plankton", type=Path, help="plankton-small, unpacked")
    parser.add_argument("--cifar", type=Path, help="cifar10-train, unpacked")
    parser.add_argument("--annotator", type=Path, help="cifar10-one-annotator.csv.xz")
    parser.add_argument(
        "--variant", type=Variant.parsed, action="append", metavar="NAME: OPTIONS", required=True
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--images", type=int, default=5000, help="of CIFAR-10")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="the tables of what is there")
    a = parser.parse_args()
    a.workdir = a.workdir.absolute()
    return a


if __name__ == "__main__":
    main()
