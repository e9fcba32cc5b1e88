"""Which heads of the probe rank wrong labels best, alone and averaged, and what a second stage adds.

    python benchmarks/heads.py DATASET WORKDIR [--labels CSV] [--images N] [--seeds 5,6,7,8] [--pairs 10]

DATASET's folders are the truth. Without --labels, 5 % of them are made wrong, once uniformly and once to the class most
alike; with it, the CSV's (columns path and label) are the labels that somebody gave. --images takes that many at random, by
the seed. "before" is the probe's recipe until then: one linear head on the last layer, weight decay .05, learning rate
1e-3, batches of 64. "second stage": of the pairs the second half is trained with weights sigmoid(-score) by the first half,
and all count alike. All rows of a cell are of the same splits. Prints average precision, mean over the seeds, and the gain on
"before" with the least and the most of the seeds.
"""

from __future__ import annotations

import argparse
import csv
import lzma
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from average_precision import average_precision
from numpy.typing import NDArray
from reporting import machine

from dupekit.api import Cache, Images, silent
from dupekit.dataset.pixels import square_pixels
from dupekit.demo.planting import centroid_likeness
from dupekit.files.names import unescape
from dupekit.rounds.split import seed_for, split
from dupekit.rounds.tally import score
from dupekit.testing import load_images
from dupekit_nets.engine import threads
from dupekit_probe import ProbeOptions
from dupekit_probe.backbone import compute_features, open_backbone
from dupekit_probe.heads import Problem, Recipe, train_heads
from dupekit_probe.networks import Head
from dupekit_probe.options import HeadKind
from dupekit_probe.prepared import Prepared, prepare

Probabilities = NDArray[np.float32]
MEANS = (
    (HeadKind.LINEAR, HeadKind.LINEAR_POOLS),
    (HeadKind.MLP, HeadKind.MLP_POOLS),
    (HeadKind.LINEAR, HeadKind.LINEAR_POOLS, HeadKind.MLP_POOLS),
    tuple(HeadKind),
)


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    prepared: Prepared
    digests: Sequence[str]
    truth: NDArray[np.int64]
    given: NDArray[np.int64]
    classes: int

    def means(
        self,
        pairs: Sequence[int],
        seed: int,
        kinds: Sequence[HeadKind],
        recipe: Recipe,
        weights: NDArray[np.float32] | None = None,
    ) -> dict[HeadKind, Probabilities]:
        """Mean held-out probabilities over these pairs, of each kind of head."""
        problems, tests = [], []
        for pair in pairs:
            second = split(self.given, self.digests, seed=seed_for(seed, 1, 0, pair))
            for half, trained in (("a", ~second), ("b", second)):
                rows, drawn = np.flatnonzero(trained), seed_for(seed, 1, 1, pair, ord(half))
                problems.append(
                    Problem(rows, self.given[rows], drawn, None if weights is None else weights[rows])
                )
                tests.append(np.flatnonzero(~trained))
        found = train_heads(
            self.prepared.matrix, problems, shapes=[self.prepared.shape(kind) for kind in kinds],
            classes=self.classes, recipe=recipe, device="cpu", threads=threads(), progress=quiet,
        )  # fmt: skip
        means = {kind: np.zeros((len(self.given), self.classes), np.float32) for kind in kinds}
        for trained, rows in zip(found, tests, strict=True):
            for kind, head in zip(kinds, trained.heads, strict=True):
                means[kind][rows] += probabilities(head, self.prepared.matrix[rows]) / len(pairs)
        return means

    def scores(self, mean: Probabilities) -> NDArray[np.float64]:
        rows, others = np.arange(len(mean)), mean.astype(np.float64)
        given = others[rows, self.given].copy()
        others[rows, self.given] = -1
        return score(given, others.max(axis=1))

    def precision(self, mean: Probabilities) -> float:
        return average_precision(self.scores(mean), self.given != self.truth)


def quiet(*_: int) -> None:
    """No progress."""


def probabilities(head: Head, matrix: NDArray[np.floating]) -> Probabilities:
    at = matrix[:, head.columns].astype(np.float32)
    for number, layer in enumerate(head.layers):
        at = (np.maximum(at, 0) if number else at) @ layer.weight.T + layer.bias
    at = np.exp(at - at.max(axis=1, keepdims=True))
    made: Probabilities = at / at.sum(axis=1, keepdims=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("workdir", type=Path, help="keeps the features")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--images", type=int)
    parser.add_argument("--seeds", default="5,6,7,8")
    parser.add_argument("--pairs", type=int, default=10)
    arguments = parser.parse_args()
    pool, labels, classes = load_images(arguments.dataset)
    truth, cache = np.asarray(labels, np.int64), Cache(arguments.workdir / "cache")
    options = ProbeOptions()
    backbone = open_backbone(options.backbone, size_px=options.image_size, cache=cache, device="cpu")
    cells: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in map(int, arguments.seeds.split(",")):
        rows = np.arange(len(pool))
        if arguments.images:
            rows = np.sort(np.random.default_rng(seed).permutation(len(pool))[: arguments.images])
        images = pool.take(rows)
        features = compute_features(backbone, images, cache, silent)
        prepared = prepare(features, images, options, backbone.pools)
        for cell, given in labelled(pool, truth, classes, seed, arguments.labels).items():
            data = Data(prepared, images.digests, truth[rows], given[rows], len(classes))
            for name, value in judged(data, seed, arguments.pairs).items():
                cells[cell][name].append(value)
            print(f"{cell}, seed {seed}: {cells[cell]['before'][-1]:.4f} before,"
                  f" {cells[cell][' + '.join(HeadKind)][-1]:.4f} with all", flush=True)  # fmt: skip
    for cell, found in cells.items():
        before = np.array(found["before"])
        print(f"\n{cell} (n = {len(before)} seeds)" + " " * 12 + "gain: mean, least, most")
        for name, values in found.items():
            gain = np.array(values) - before
            print(f"{name:58} {np.mean(values):.4f} {gain.mean():+.4f} {gain.min():+.4f} {gain.max():+.4f}")
    print(machine())


def judged(data: Data, seed: int, pairs: int) -> dict[str, float]:
    """Average precision by heads."""
    half, every = pairs // 2, list(HeadKind)
    first, second = range(1, half + 1), range(half + 1, pairs + 1)
    options = ProbeOptions()
    recipe = Recipe(
        options.epochs,
        options.learning_rate,
        options.weight_decay,
        options.batch_size,
        options.label_smoothing,
    )
    # The least was 300 steps.
    old = Recipe(max(10.0, 300 * 64 / (len(data.given) / 2)), 1e-3, 0.05, 64, 0.0)
    (before,) = data.means(range(1, pairs + 1), seed, [HeadKind.LINEAR], old).values()
    found = {"before": data.precision(before)}
    begun, plain = data.means(first, seed, every, recipe), data.means(second, seed, every, recipe)
    weights = (1 / (1 + np.exp(data.scores(np.mean([*begun.values()], axis=0))))).astype(np.float32)
    weighted = data.means(second, seed, every, recipe, weights)
    for kinds in [*((kind,) for kind in HeadKind), *MEANS]:
        for title, later in (("", plain), (", second stage", weighted)):
            mean = (
                np.mean([begun[kind] * half + later[kind] * (pairs - half) for kind in kinds], axis=0) / pairs
            )
            found[" + ".join(kinds) + title] = data.precision(mean)
    return found


def labelled(
    pool: Images, truth: NDArray[np.int64], classes: Sequence[str], seed: int, file: Path | None
) -> dict[str, NDArray[np.int64]]:
    """What the labels are taken for: title -> labels."""
    if file is not None:
        number = {name: at for at, name in enumerate(classes)}
        with lzma.open(file, "rt") if file.suffix == ".xz" else file.open() as lines:
            told = {row["path"]: number[row["label"]] for row in csv.DictReader(lines)}
        return {"labels of people": np.array([told[unescape(path)] for path in pool.paths])}
    return {
        "uniform": planted(truth, None, len(classes), seed),
        "look-alike": planted(truth, likeness(pool, truth, len(classes)), len(classes), seed),
    }


def planted(
    truth: NDArray[np.int64], nearest: NDArray[np.intp] | None, classes: int, seed: int, share: float = 0.05
) -> NDArray[np.int64]:
    """As `dupekit.demo.planting.plant_errors`, all errors of one kind."""
    rng, labels = np.random.default_rng(seed), truth.copy()
    left = np.bincount(truth, minlength=classes)
    wanted = round(len(truth) * share)
    for row in rng.permutation(len(truth)).tolist():
        own = truth[row]
        if left[own] > 2 and wanted:
            left[own] -= 1
            wanted -= 1
            other = int(rng.integers(classes - 1))
            labels[row] = other + (other >= own) if nearest is None else nearest[own]
    return labels


def likeness(pool: Images, truth: NDArray[np.int64], classes: int) -> NDArray[np.intp]:
    """The class most alike to each, as `planted_round.py` has it: by small grey squares and sizes."""
    pixels = [
        np.append(square_pixels(one.file.read_bytes(), size_px=24, channels=1).ravel() / 255, size)
        for one, size in zip(pool, pool.log_sizes(), strict=True)
    ]
    alike = centroid_likeness(np.array(pixels), truth, classes)
    np.fill_diagonal(alike, -np.inf)
    return alike.argmax(axis=1)


if __name__ == "__main__":
    main()
