"""The whole loop on real handwritten digits: errors planted, the technician played by the known truth.

The digits are the 1,797 of scikit-learn (`sklearn.datasets.load_digits`), 8 x 8 pixels, from the UCI
archive; they come with that package, so nothing is downloaded.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from dupekit.demo.planting import centroid_likeness, plant_errors
from dupekit.errors import DupekitError, UsageError
from dupekit.files.paths import real_path
from dupekit.jobs.evaluation import Evaluation
from dupekit.project import Project
from dupekit.review.manifest import DONE, ExportedFile
from dupekit.system.progress import Progress, silent
from dupekit.workflow.plan import Choices

SHARE, SEED, PAIRS = 0.05, 20, 10
IMAGE_SIZE_PX = 64
"""Of the probe's input: digits of 8 x 8 pixels need no more."""


@dataclass(frozen=True, slots=True)
class Played:
    """What the demo found."""

    folder: Path
    images: int
    planted: int
    found: int
    missed: int
    cleared: int
    wrong_labels_after: int
    seconds: float
    evaluation: Evaluation
    """Whether the corrections helped."""

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("images", str(self.images)),
            ("planted label errors", str(self.planted)),
            ("found", str(self.found)),
            ("missed", str(self.missed)),
            ("reviewed, and labelled right", str(self.cleared)),
            ("wrong labels after", str(self.wrong_labels_after)),
            ("seconds", f"{self.seconds:.0f}"),
        ]


def play(
    folder: Path | None = None, *, progress: Progress = silent, say: Callable[[str], None] = lambda _: None
) -> Played:
    """Plays the demo in a folder that does not exist or is empty, default a new temporary one."""
    started = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="dupekit-demo-")) if folder is None else Path(folder).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", hint="Name a folder that does not exist yet.")
    dataset = folder / "digits"
    truth = write_digits(dataset)
    planted = {name for name, (true, given) in truth.items() if true != given}
    say(f"{len(truth)} digits in {dataset}, {len(planted)} of them in a wrong folder (seed {SEED}).")

    project = Project.create(dataset, folder / "project")
    project.scan(progress=progress)
    _train(project, progress)
    flagged = project.flag()
    exported = project.export(progress=progress)
    say(
        f"{len(flagged.suspects)} suspects; the {len(exported.manifest.files)} most suspicious went out in a review tree."
    )
    suspected = {_name(file.original) for file in exported.manifest.files}
    _play_technician(exported.tree, exported.manifest.files, truth)
    collected = project.collect(who="the known truth", confirm=lambda _: True)  # it makes no slips
    say(f"The technician reviewed {len(collected.review.verdicts)} images in {exported.tree}.")
    applied = project.apply(folder / "digits-corrected", progress=progress)
    say(f"Wrote {applied.destination} and {applied.patch}; now training before and after it.")
    evaluation = project.evaluate(progress=progress)
    wrong = sum(file.parent.name != truth[file.name][0] for file in applied.destination.rglob("*.png"))
    return Played(
        folder=folder,
        images=len(truth),
        planted=len(planted),
        found=len(planted & suspected),
        missed=len(planted - suspected),
        cleared=len(suspected - planted),
        wrong_labels_after=wrong,
        seconds=time.perf_counter() - started,
        evaluation=evaluation,
    )


def write_digits(dataset: Path) -> dict[str, tuple[str, str]]:
    """Writes the digits into class folders, some of them into a wrong one; returns file name -> true and given label."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DupekitError(
            "The demo needs scikit-learn, whose digits it plays with.",
            hint="In a clone of dupekit: pip install -e '.[demo]'",
        ) from None
    digits = load_digits()
    given = plant_errors(
        digits.target, centroid_likeness(digits.data, digits.target, 10), share=SHARE, seed=SEED
    )
    names: dict[str, tuple[str, str]] = {}
    for row, (pixels, true, label) in enumerate(zip(digits.images, digits.target, given, strict=True)):
        name = f"digit_{row:04d}.png"
        target = dataset / str(label) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray((pixels * 255 / 16).astype(np.uint8)).save(target)
        names[name] = (str(true), str(label))
    return names


def _train(project: Project, progress: Progress) -> None:
    choices = Choices(trainer="probe", pairs=PAIRS, options={"image_size": IMAGE_SIZE_PX})
    done = project.train(choices, progress=progress)
    if done.failed:
        first = done.failed[0]
        raise DupekitError(f"Run {first.name} failed: {first.error}", hint="See log.txt in its folder.")


def _play_technician(tree: Path, files: list[ExportedFile], truth: dict[str, tuple[str, str]]) -> None:
    """Deletes what was labelled right, leaves what has the right suggestion, moves the rest to its class; then all is done."""
    for file in files:
        true, given = truth[_name(file.original)]
        path = real_path(tree, file.path)
        if true == given:
            path.unlink()
        elif true != file.suggested:
            path.rename(tree / true / path.name)
    for folder in sorted({file.given for file in files}):
        (tree / folder).rename(tree / DONE / folder)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
