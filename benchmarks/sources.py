"""Datasets whose true labels are known, and label errors planted in them: what several benchmarks measure on.

scikit-learn's digits, a folder of class folders, and CIFAR-10 with what one of its annotators called each image. The
datasets are only read; a round is trained on a copy (hard links where possible).
"""

from __future__ import annotations

import csv
import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dupekit.dataset.pixels import square_pixels
from dupekit.demo.planting import centroid_likeness


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A dataset whose true labels are known; arrays of shape (n,)."""

    name: str
    files: list[Path]
    truth: NDArray[np.int64]
    classes: list[str]
    heard: NDArray[np.int64] | None = None
    """What an annotator called each image."""


def digits(folder: Path, *, images: int | None = None) -> Source:
    """scikit-learn's digits, written to `folder`; the first so many."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{row:04d}.png" for row in range(len(loaded.images))][:images]
    for file, pixels in zip(files, loaded.images, strict=False):
        if not file.exists():
            PillowImage.fromarray((pixels * 255 / 16).astype(np.uint8)).save(file)
    truth = loaded.target.astype(np.int64)[:images]
    return Source("digits", files, truth, [str(digit) for digit in range(10)])


def folders(name: str, dataset: Path) -> Source:
    classes = sorted(folder.name for folder in dataset.iterdir() if folder.is_dir())
    found = [
        (file, number) for number, label in enumerate(classes) for file in sorted((dataset / label).iterdir())
    ]
    return Source(name, [file for file, _ in found], np.array([number for _, number in found]), classes)


def cifar(dataset: Path, annotator: Path, *, seed: int = 0, images: int | None = None) -> Source:
    """CIFAR-10: so many images drawn at random, or all of them."""
    every = folders("cifar10", dataset)
    with lzma.open(annotator, "rt", encoding="utf-8", newline="") as table:
        heard = {row["path"]: every.classes.index(row["label"]) for row in csv.DictReader(table)}
    rows = np.arange(len(every.files))
    if images is not None:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), images, replace=False))
    files = [every.files[row] for row in rows]
    called = np.array([heard[f"{file.parent.name}/{file.name}"] for file in files])
    return Source("cifar10", files, every.truth[rows], every.classes, called)


def planted(
    source: Source, kind: str, *, share: float, seed: int, likeness: NDArray[np.floating] | None = None
) -> NDArray[np.int64]:
    """Given labels, `share` of them wrong. uniform: any other class; look-alike: the class that is most alike by `likeness`,
    shape (classes, classes), default the nearest by its mean image; few pairs (class-dependent): a fifth of each of the fewest
    classes that suffice, to one other class each; annotator: as heard, however many. No class is lost."""
    if kind == "annotator":
        assert source.heard is not None
        return source.heard
    rng = np.random.default_rng(seed)
    truth, n_classes = source.truth, len(source.classes)
    wanted = round(len(truth) * share)
    order = rng.permutation(len(truth))
    if kind == "uniform":
        target = (truth + rng.integers(1, n_classes, len(truth))) % n_classes
    elif kind == "look-alike":
        alike = centroid_likeness(_small(source), truth, n_classes) if likeness is None else likeness.copy()
        np.fill_diagonal(alike, -np.inf)
        target = alike.argmax(axis=1)[truth]
    else:
        target = (truth + rng.integers(1, n_classes, n_classes)[truth]) % n_classes
        order = np.concatenate(
            [_a_fifth(order[truth[order] == label]) for label in rng.permutation(n_classes)]
        )
    given = truth.copy()
    left = np.bincount(truth, minlength=n_classes)
    made = 0
    for row in order.tolist():
        if made < wanted and left[truth[row]] > 2:
            left[truth[row]] -= 1
            given[row] = target[row]
            made += 1
    return given


def _a_fifth(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[: len(rows) // 5]


def _small(source: Source) -> NDArray[np.float64]:
    rows = [square_pixels(file.read_bytes(), size_px=24, channels=1).ravel() / 255 for file in source.files]
    return np.array(rows)


def write_copy(source: Source, given: NDArray[np.int64], target: Path) -> None:
    """Each image in the folder of its given label; `row_of` tells which it is."""
    for row, (file, label) in enumerate(zip(source.files, given.tolist(), strict=True)):
        new = target / source.classes[label] / f"{row:06d}{file.suffix}"
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, new)


def row_of(path: str) -> int:
    """The source's row of an image of a copy."""
    return int(Path(path).stem)
