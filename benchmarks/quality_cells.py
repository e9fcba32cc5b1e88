"""One cell of benchmarks/quality.py: a round of a variant over a copy with label errors, kept on disk; and cleanlab's usual
recipe on the features of that round.

WORKDIR/rounds/VARIANT/CELL.npz  given and true labels, each pair's held-out probabilities of every image, and the cost
WORKDIR/recipe/FEATURES/CELL.npz  the recipe's out-of-sample probabilities, one array a repetition, and the cost
WORKDIR/caches/DATASET            the project's cache, the same for all rounds: it is keyed by content
"""

from __future__ import annotations

import hashlib
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from sources import Source, planted, row_of, write_copy

from dupekit.api import Cache, FeatureInput
from dupekit.files.write import atomic_write
from dupekit.jobs.files import Half
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.predictions import PredictionReader
from dupekit.plugin.model import read_metadata

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to train that is compared: options of `dupekit train`."""

    name: str
    options: tuple[str, ...]

    @classmethod
    def parsed(cls, text: str) -> Variant:
        """From "name: --trainer probe --set heads=linear"."""
        name, colon, options = text.partition(":")
        if not colon or not name.strip().replace("-", "").isalnum():
            raise ValueError(f'{text!r} is not "NAME: OPTIONS OF dupekit train"')
        return cls(name.strip(), tuple(shlex.split(options)))


@dataclass(frozen=True, slots=True)
class Cell:
    """What is planted where."""

    source: str
    kind: str
    share: float | None
    """Of the labels; None where a person made the errors."""
    seed: int
    """Of the planting, the splits and the trainings."""

    @property
    def row(self) -> str:
        """The same for all seeds."""
        share = "" if self.share is None else f" {self.share:.0%}"
        return f"{self.source} {self.kind}{share}"

    @property
    def name(self) -> str:
        return f"{self.row}-{self.seed}".replace(" ", "-").replace("%", "")


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What came of a cell with a variant; n images."""

    given: NDArray[np.int64]
    truth: NDArray[np.int64]
    first_half: NDArray[np.bool_]
    """Images by which is chosen; by the others is reported. By their names, so the same in all cells."""
    pairs: NDArray[np.float16]
    """Each pair's held-out probabilities, shape (pairs, n, classes)."""
    seconds: float
    """Of `dupekit train`, all of it."""
    cpu_seconds: float
    features: str
    """Name of the cached array that the models read; empty where they read pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Out-of-sample probabilities by k-fold cross-validation, shape (repetitions, n, classes)."""

    probabilities: NDArray[np.float32]
    cpu_seconds: NDArray[np.float64]
    """One a repetition."""


@dataclass(frozen=True, slots=True)
class Place:
    """The benchmark's folder, and what all its rounds have in common."""

    workdir: Path
    pairs: int
    repetitions: int
    common: dict[str, tuple[str, ...]]
    """Options of `dupekit train` by source."""

    def round_file(self, variant: Variant, cell: Cell) -> Path:
        return self.workdir / "rounds" / variant.name / f"{cell.name}.npz"

    def options_of(self, variant: Variant) -> str:
        """Those that its rounds were trained with; where there are none yet, its own."""
        file = self._options_file(variant)
        return file.read_text() if file.exists() else shlex.join(variant.options)

    def begin(self, variant: Variant) -> None:
        """Ends the benchmark where rounds of this name were trained with other options."""
        wanted, kept = shlex.join(variant.options), self.options_of(variant)
        if wanted != kept:
            sys.exit(f"The rounds of {variant.name} were trained with {kept}: give {wanted} another name.")
        self._options_file(variant).parent.mkdir(parents=True, exist_ok=True)
        self._options_file(variant).write_text(wanted)

    def _options_file(self, variant: Variant) -> Path:
        return self.workdir / "rounds" / variant.name / "options.txt"

    def recipe_file(self, features: str, cell: Cell) -> Path:
        return self.workdir / "recipe" / features / f"{cell.name}.npz"


# --- a round


def make_round(place: Place, variant: Variant, cell: Cell, source: Source) -> None:
    """Plants, trains, predicts, and keeps what came of it; then the recipe, unless it is there."""
    likeness = confusable(place, source) if cell.kind == "look-alike" else None
    given = planted(source, cell.kind, share=cell.share or 0, seed=cell.seed, likeness=likeness)
    project = place.workdir / f"work-{os.getpid()}" / "project"
    seconds, cpu = _train(place, variant, source, given, project, pairs=place.pairs, seed=cell.seed)
    folder = RoundFolder(project, 1)
    pairs, rows = _held_out(folder, source, place.pairs)
    if len(rows) < len(given):
        sys.exit(f"{cell.name}: only {len(rows)} of {len(given)} images were assessed")
    features = _features_of(folder)
    if features and not place.recipe_file(features, cell).exists():
        digests = dict(zip(rows.tolist(), folder.of_round.digests, strict=True))
        cached = Cache(project / "cache").stored(features).known([digests[row] for row in range(len(given))])
        made = cross_validated(
            cached[slice(None)].astype(np.float32), given, len(source.classes), place.repetitions
        )
        _keep(
            place.recipe_file(features, cell), probabilities=made.probabilities, cpu_seconds=made.cpu_seconds
        )
    _keep(
        place.round_file(variant, cell),
        given=given,
        truth=source.truth,
        first_half=np.array(
            [hashlib.sha256(file.name.encode()).digest()[0] % 2 == 0 for file in source.files]
        ),
        pairs=pairs,
        seconds=seconds,
        cpu_seconds=cpu,
        features=features,
    )
    shutil.rmtree(project.parent)


def read_round(place: Place, variant: Variant, cell: Cell) -> Round | None:
    """None where it was not made yet."""
    file = place.round_file(variant, cell)
    if not file.exists():
        return None
    with np.load(file) as kept:
        return Round(
            kept["given"],
            kept["truth"],
            kept["first_half"],
            kept["pairs"],
            float(kept["seconds"]),
            float(kept["cpu_seconds"]),
            str(kept["features"]),
        )


def read_recipe(place: Place, features: str, cell: Cell) -> Recipe | None:
    file = place.recipe_file(features, cell)
    if not features or not file.exists():
        return None
    with np.load(file) as kept:
        return Recipe(kept["probabilities"], kept["cpu_seconds"])


def confusable(place: Place, source: Source) -> NDArray[np.float64]:
    """How probable each class is held to be for images of another, shape (classes, classes): by the mean held-out prediction of
    two pairs of today's default trainer, trained on the true labels. Made once for a dataset, and then the same for all variants."""
    file = place.workdir / "likeness" / f"{source.name}.npy"
    if not file.exists():
        project = place.workdir / f"work-{os.getpid()}" / "project"
        _train(
            place, Variant("truth", ("--trainer", "probe")), source, source.truth, project, pairs=2, seed=0
        )
        pairs, rows = _held_out(RoundFolder(project, 1), source, 2)
        mean, truth = pairs.astype(np.float64).mean(axis=0)[rows], source.truth[rows]
        found = np.stack([mean[truth == label].mean(axis=0) for label in range(len(source.classes))])
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            np.save(out, found)
        shutil.rmtree(project.parent)
    return np.load(file)


def _train(
    place: Place,
    variant: Variant,
    source: Source,
    given: NDArray[np.int64],
    project: Path,
    *,
    pairs: int,
    seed: int,
) -> tuple[float, float]:
    """A project over a copy with the given labels, and its round; seconds of the wall and of the processors."""
    shutil.rmtree(project.parent, ignore_errors=True)
    write_copy(source, given, project.parent / "dataset")
    cache = place.workdir / "caches" / source.name
    cache.mkdir(parents=True, exist_ok=True)
    _dupekit("init", project.parent / "dataset", "-p", project)
    (project / "cache").symlink_to(cache)
    common = place.common.get(source.name, ())
    started, before = time.perf_counter(), _cpu_seconds(resource.RUSAGE_CHILDREN)
    _dupekit(
        "train", "-p", project, "--pairs", pairs, "--seed", seed, "--keep-models", *common, *variant.options
    )
    return time.perf_counter() - started, _cpu_seconds(resource.RUSAGE_CHILDREN) - before


def _dupekit(*command: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dupekit", *map(str, command)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"dupekit {shlex.join(map(str, command))}\n{done.stdout}{done.stderr}")


def _held_out(
    folder: RoundFolder, source: Source, pairs: int
) -> tuple[NDArray[np.float16], NDArray[np.intp]]:
    """Each pair's probabilities of the source's images and classes, 0 for what was not assessed; the rows that were."""
    of_round = folder.of_round
    rows = np.array([row_of(path) for path in of_round.paths])
    classes = [source.classes.index(label) for label in of_round.classes]
    found = np.zeros((pairs, len(source.files), len(source.classes)), np.float16)
    row_by_image = np.full(max(of_round.ids) + 1, -1)
    row_by_image[of_round.ids] = rows
    for pair in range(pairs):
        for half in Half:
            with PredictionReader(folder.run(pair + 1, half)) as reader:
                for images, probabilities in reader.chunks():
                    found[pair, row_by_image[images][:, None], classes] = probabilities
    return found, rows


def _features_of(folder: RoundFolder) -> str:
    """The cached array that the round's first model reads, by the file's own metadata."""
    model = onnx.load(folder.run(1, Half.A) / "model.onnx", load_external_data=False)
    given = read_metadata({entry.key: entry.value for entry in model.metadata_props})[1]
    return given.features if isinstance(given, FeatureInput) else ""


# --- cleanlab's usual recipe


def cross_validated(
    features: NDArray[np.float32], given: NDArray[np.int64], n_classes: int, repetitions: int
) -> Recipe:
    """scikit-learn's logistic regression as it is by default, on the features as they are (standardised ones were worse), five
    folds; each repetition shuffles anew. In one thread: several wait for each other in a loop, and cost ten times as much."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    found = np.zeros((repetitions, len(given), n_classes), np.float32)
    seconds = np.zeros(repetitions)
    for repetition in range(repetitions):
        before = _cpu_seconds(resource.RUSAGE_SELF)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=repetition)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter(
                "ignore"
            )  # of classes with fewer images than folds; of 100 iterations, which suffice
            found[repetition] = cross_val_predict(
                LogisticRegression(), features, given, cv=folds, method="predict_proba"
            )
        seconds[repetition] = _cpu_seconds(resource.RUSAGE_SELF) - before
    return Recipe(found, seconds)


def _cpu_seconds(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _keep(file: Path, **arrays: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
