"""Top-k predictions: what would change if a run kept only the k-1 most probable classes of an image, the given one, and the sum of
the rest, which reading spreads evenly.

    python benchmarks/top_k.py FOLDER > benchmarks/results/top_k.txt

FOLDER holds rounds of whole probabilities as `benchmarks/quality.py` keeps them (rounds/*/*.npz): digits and CIFAR-10 have 10 classes,
plankton-small 30. Rounds of 1,000 classes are simulated: confident and unsure images, each class with twenty that are like it, 3 % of the
labels wrong. All is counted as dupekit counts it, from whole and from cut rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reporting import machine

from dupekit.rounds.tally import tally

ROUNDS = (
    "digits-uniform-15-1",
    "plankton-small-look-alike-15-1",
    "plankton-small-uniform-15-1",
    "cifar10-annotator-1",
)
KS = (4, 8, 16, 32)
MANY, IMAGES, PART, RUNS, ALIKE, WRONG = 1000, 10_000, 1000, 10, 20, 0.03


def cut(rows: NDArray[np.float16], given: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """The rows (n, classes) as they would be read again."""
    n, classes = rows.shape
    values = rows.astype(np.float32)
    others = values.copy()
    others[np.arange(n), given] = -1
    kept = np.argsort(-others, axis=1, kind="stable")[:, : k - 1]
    kept = np.concatenate([kept, given[:, None]], axis=1)
    chosen = np.take_along_axis(values, kept, axis=1)
    rest = np.maximum(1 - chosen.sum(axis=1), 0) / max(classes - k, 1)
    found = np.repeat(rest[:, None], classes, axis=1)
    np.put_along_axis(found, kept, chosen, axis=1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    suggested: NDArray[np.int32]
    votes: NDArray[np.int32]
    score: NDArray[np.float64]


def counted(pairs: NDArray[np.floating], given: NDArray[np.int64]) -> Counted:
    """`pairs` has the shape (pairs, images, classes): each pair predicts every image once."""

    def run(rows: NDArray[np.floating]):
        return lambda start, stop: (np.arange(start, stop), rows[start:stop])

    parts = list(tally(given, pairs.shape[2], [run(rows) for rows in pairs], chunk=PART))
    return Counted(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("suggested", "votes", "score"))
    )


def simulated() -> Iterator[tuple[NDArray[np.float16], NDArray[np.int64]]]:
    """Parts of a round: probabilities (pairs, images, MANY), given labels."""
    rng = np.random.default_rng(0)
    for _ in range(IMAGES // PART):
        true = rng.integers(0, MANY, PART)
        alike = (true[:, None] + np.arange(1, ALIKE + 1) * 37) % MANY  # the classes that are like it
        given = np.where(rng.random(PART) < WRONG, alike[np.arange(PART), rng.integers(0, ALIKE, PART)], true)
        own = rng.normal(0, 1, (PART, MANY)).astype(np.float32)  # what all models see in the image
        strength = rng.gamma(3, 3, PART).astype(np.float32)
        np.put_along_axis(own, alike, np.take_along_axis(own, alike, 1) + strength[:, None] / 2, 1)
        own[np.arange(PART), true] += 2 + strength
        pairs = np.empty((RUNS, PART, MANY), np.float16)
        for run in range(RUNS):
            logits = own + rng.normal(0, 1, own.shape).astype(np.float32)
            likely = np.exp(logits - logits.max(axis=1, keepdims=True))
            pairs[run] = likely / likely.sum(axis=1, keepdims=True)
        yield pairs, given


def figures(whole: Counted, short: Counted) -> list[float]:
    """As HEAD names them from `votes` on."""
    suspect = whole.score > 0
    same = (whole.votes == short.votes) & ((whole.suggested == short.suggested) | (whole.votes == 0))
    order = np.argsort(-whole.score, kind="stable")
    moved = np.diff(short.score[order]) > 1e-9
    change = np.abs(whole.score - short.score)
    return [
        100 * same.mean(),
        100 * ((short.score > 0) == suspect).mean(),
        100 * moved[suspect[order][1:]].mean(),
        100 * moved.mean(),
        change[suspect].max(initial=0),
        change.max(),
    ]


HEAD = """
votes       images with the same votes for the same class, %
suspects    images that are suspects by the score, or are none, as with whole rows, %
moved       neighbours in the order of the score that change places, %: among the suspects; of all
change      of a score, the largest: among the suspects; of all

                                       bytes an image
data                         classes  images   k  cut  whole    votes  suspects   moved of all  change of all"""


def compared(parts: list[tuple[NDArray[np.floating], NDArray[np.int64]]], k: int | None) -> Counted:
    found = []
    for pairs, given in parts:
        rows = pairs if k is None else np.stack([cut(rows, given, k) for rows in pairs])
        found.append(counted(rows, given))
    return Counted(
        *(np.concatenate([getattr(one, name) for one in found]) for name in ("suggested", "votes", "score"))
    )


def main(folder: Path) -> None:
    print(f"{machine()}\n\npython benchmarks/top_k.py FOLDER\n{HEAD}")

    def shown(name: str, parts: list[tuple[NDArray[np.float16], NDArray[np.int64]]]) -> None:
        classes, images = parts[0][0].shape[2], sum(len(given) for _, given in parts)
        whole = compared(parts, None)
        for k in KS:
            if k < classes:
                votes, suspects, *rest = figures(whole, compared(parts, k))
                print(
                    f"{name:30}{classes:6}{images:8}{k:4}{4 * k:5}{2 * classes:7}{votes:9.3f}{suspects:10.3f}"
                    + "".join(f"{value:{width}.3f}" for value, width in zip(rest, (8, 7, 8, 7), strict=True)),
                    flush=True,
                )

    for wanted in ROUNDS:
        file = sorted(folder.glob(f"rounds/*/{wanted}.npz"))[0]
        with np.load(file) as kept:
            shown(wanted.removesuffix("-1"), [(kept["pairs"], kept["given"])])
    shown("simulated", list(simulated()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
