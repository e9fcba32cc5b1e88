"""How well wrong labels are found: planted errors of three kinds, people's own errors, and cleanlab beside it.

    python benchmarks/quality.py WORKDIR [--plankton DIR] [--cifar DIR --annotator CSV]
        --variant "today: --trainer probe" [--variant "other: --trainer probe --set weight_decay=4"]

For each dataset (scikit-learn's digits; plankton-small; 10,000 images of CIFAR-10 a seed), kind of errors (uniform, look-alike,
few pairs: class-dependent), share of wrong labels (2, 5, 15 %) and seed, a copy is made and `dupekit train` run on it; then, on all 50,000 of
CIFAR-10, with what one person called each. The errors of a cell, its splits and its folds are the same for all variants.

Each cell is kept in WORKDIR: the same command goes on where it was stopped, and another variant may come from another checkout. The
tables are written to WORKDIR/quality.txt and all figures to WORKDIR/quality.json; with --report nothing is trained. Half of the
seeds (rounded down) and of the images are to choose by, the others are reported.

Needs cleanlab 2.7 or newer, which nothing else of dupekit does: pip install '.[benchmark]'
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from quality_cells import Cell, Place, Round, Variant, make_round, read_recipe, read_round
from quality_orders import suspicions, worth
from quality_tables import (
    Cost,
    Part,
    Result,
    Results,
    by_class_size,
    of_variant,
    recipe,
    rules,
    variants,
)
from reporting import machine
from sources import Source, cifar, digits, folders

KINDS = ("uniform", "look-alike", "few pairs")
SHARES = (0.02, 0.05, 0.15)
SEEDS = (1, 2, 3)
CIFAR_IMAGES = 10_000
"""Of the cells with planted errors."""
COMMON = {"digits": ("--set", "image_size=64")}  # 8 x 8 pixels need no more
QUICK_IMAGES = 400


class Sources:
    """The datasets that were named, opened once."""

    def __init__(self, a: argparse.Namespace) -> None:
        self._a = a
        self.of = cache(self._of)

    def names(self) -> list[str]:
        there = {
            "digits": True,
            "plankton-small": self._a.plankton,
            "cifar10": self._a.cifar and self._a.annotator,
        }
        return [name for name, named in there.items() if named and name in (self._a.only or there)]

    def _of(self, cell: Cell) -> Source:
        if cell.source == "digits":
            return digits(self._a.workdir / "digits", images=QUICK_IMAGES if self._a.quick else None)
        if cell.source == "plankton-small":
            return folders(cell.source, self._a.plankton)
        images = None if cell.kind == "annotator" else CIFAR_IMAGES
        return cifar(self._a.cifar, self._a.annotator, seed=cell.seed, images=images)


def cells(a: argparse.Namespace, names: Sequence[str]) -> Iterator[Cell]:
    """Planted ones first, the cheap before the dear."""
    for name in names:
        for kind in a.kinds:
            if kind != "annotator":
                yield from (Cell(name, kind, share, seed) for share in a.shares for seed in a.seeds)
    if "cifar10" in names and "annotator" in a.kinds:
        yield from (Cell("cifar10", "annotator", None, seed) for seed in a.seeds)


def parts(made: Round, cell: Cell, seeds: Sequence[int]) -> Iterator[tuple[Part, NDArray[np.bool_]]]:
    """What a cell belongs to, and with which images. A person's errors are the same with every seed: there images alone divide."""
    choosing = cell.seed in sorted(seeds)[: len(seeds) // 2]
    yield Part.ALL, np.ones(len(made.given), bool)
    if choosing or cell.share is None:
        yield Part.CHOOSE, made.first_half
    if not choosing or cell.share is None:
        yield Part.REPORT, ~made.first_half


def measured(
    place: Place, named: Sequence[Variant], wanted: Sequence[Cell], seeds: Sequence[int]
) -> tuple[list[Result], list[Cost]]:
    """Of all cells that are there."""
    results, costs = [], []
    for cell in wanted:
        for variant in named:
            made = read_round(place, variant, cell)
            if made is None:
                continue
            beside = read_recipe(place, made.features, cell)
            for order, suspicion in suspicions(made, beside).items():
                for part, among in parts(made, cell, seeds):
                    results.append(Result(variant.name, cell, part, order, worth(suspicion, made, among)))
            spent = () if beside is None else tuple(beside.cpu_seconds.tolist())
            costs.append(Cost(variant.name, cell, made.seconds, made.cpu_seconds, spent))
    return results, costs


def text(a: argparse.Namespace, place: Place, results: list[Result], costs: list[Cost]) -> str:
    names = [variant.name for variant in a.variant]
    of = {part: Results(results, part) for part in Part}
    head = f"python benchmarks/quality.py: {a.pairs} pairs, seeds {' '.join(map(str, a.seeds))}, {len(costs)} rounds. {machine()}"
    lines = textwrap.wrap(head, 110)
    lines += [f"{variant.name}: dupekit train {place.options_of(variant)}" for variant in a.variant]
    lines += variants(of[Part.REPORT], names, costs)
    lines += variants(of[Part.CHOOSE], names, costs)
    for name in names:
        lines += recipe(of[Part.REPORT], name, costs)
        lines += rules([of[Part.CHOOSE], of[Part.REPORT], of[Part.ALL]], name)
        lines += by_class_size(of[Part.ALL], name)
        lines += of_variant(of[Part.REPORT], name)
    return "\n".join(lines) + "\n"


def main() -> None:
    a = arguments()
    place = Place(a.workdir, a.pairs, a.repetitions, COMMON)
    sources = Sources(a)
    wanted = list(cells(a, sources.names()))
    for variant in a.variant if not a.report else ():
        place.begin(variant)
    for cell in wanted if not a.report else ():
        for variant in a.variant:
            if not place.round_file(variant, cell).exists():
                started = time.perf_counter()
                make_round(place, variant, cell, sources.of(cell))
                seconds = time.perf_counter() - started
                print(f"{variant.name}: {cell.name}, {seconds:.0f} s", file=sys.stderr, flush=True)
    results, costs = measured(place, a.variant, wanted, a.seeds)
    if not results:
        sys.exit("Nothing was measured yet.")
    written = text(a, place, results, costs)
    (a.workdir / "quality.txt").write_text(written)
    figures = {"results": [asdict(one) for one in results], "costs": [asdict(one) for one in costs]}
    (a.workdir / "quality.json").write_text(json.dumps(figures, indent=0) + "\n")
    print(written)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--plankton", type=Path, help="plankton-small, unpacked")
    parser.add_argument("--cifar", type=Path, help="cifar10-train, unpacked")
    parser.add_argument("--annotator", type=Path, help="cifar10-one-annotator.csv.xz")
    parser.add_argument(
        "--variant", type=Variant.parsed, action="append", metavar="NAME: OPTIONS", help="default: probe"
    )
    parser.add_argument("--only", nargs="+", choices=["digits", "plankton-small", "cifar10"])
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS, "annotator"], default=[*KINDS, "annotator"])
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=3, help="of cleanlab's recipe")
    parser.add_argument("--report", action="store_true", help="tables of what is there")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_IMAGES} digits, look-alike errors at 5 %, two seeds, two pairs",
    )
    a = parser.parse_args()
    a.workdir = a.workdir.absolute()
    a.variant = a.variant or [Variant("probe", ("--trainer", "probe"))]
    if a.quick:
        a.only, a.kinds, a.shares, a.seeds = ["digits"], KINDS[1:2], (0.05,), (1, 2)
        a.pairs = a.repetitions = 2
    return a


if __name__ == "__main__":
    main()
