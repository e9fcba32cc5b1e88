"""rounds/NN of a project: its images, its splits, its weights, a folder a run, and a folder an export."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from dupekit.errors import JobError
from dupekit.files.regular import open_regular
from dupekit.files.write import atomic_write, clear_partials
from dupekit.jobs.files import (
    JOB,
    Choice,
    Half,
    JobFile,
    read_result,
    read_weights,
    run_name,
    write_model,
)
from dupekit.jobs.images import FIRST_FORMAT, IMAGES, RoundImages, read_images, write_images
from dupekit.plugin.contract import RESULT, Job
from dupekit.rounds.class_view import ClassView
from dupekit.rounds.split import seed_for, split
from dupekit.system.stamp import now

WEIGHTS = "weights.npy"
_SPLIT, _TRAINING = 0, 1  # what a seed is drawn for


class PredictionFile(BaseModel):
    """A file that predictions of a round came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    digest: str
    """SHA-256, hexadecimal."""
    predictions: int
    """So many of its predictions are in the round."""


class Imported(BaseModel):
    """Where a round comes from that dupekit did not train."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: list[PredictionFile]
    classes: list[str]
    """Of the predictions, in the order of their columns: also such that no image of the round is given."""


class Plan(BaseModel):
    """What is fixed for a whole round; the ledger keeps it as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trainer: Choice
    validator: Choice
    seed: int
    split: Literal["redraw", "fixed"]
    class_min: int
    class_max: int | None = None
    view: ClassView | None = None
    """The mapping itself, so that a round that has begun needs no table any more."""
    near_duplicates: bool = False
    """Whether images that are nearly the same stay in one half, as equal ones do."""
    first_stage: int | None = None
    """Later pairs than this one are trained with weights; None: none are."""
    imported: Imported | None = None
    """None: trained by dupekit."""

    @property
    def stage(self) -> int:
        """The last one: 1 or 2."""
        return 1 if self.first_stage is None else 2

    def is_second_stage(self, pair: int) -> bool:
        return self.first_stage is not None and pair > self.first_stage


def _is_of_images(name: str) -> bool:
    """Whether a file holds a round's images, or is one that was to."""
    return name.removeprefix(".").startswith("images.")


class RoundFolder:
    """The folder of one round. Knows no ledger."""

    def __init__(self, project: Path, number: int) -> None:
        self.path = project / "rounds" / f"{number:02d}"
        self.number = number

    @property
    def images_file(self) -> Path:
        """images.npz; where an older dupekit has begun the round, its images.json."""
        file, first = self.path / IMAGES, self.path / FIRST_FORMAT
        return first if first.is_file() and not file.exists() else file

    @cached_property
    def of_round(self) -> RoundImages:
        """The round's images, read once. Raises JobError where their file is missing or not valid."""
        return read_images(self.images_file)

    def create(self, of_round: RoundImages) -> None:
        """Begins the folder. What a project that is no more left under its name is moved aside; what a call left that
        was killed before the round was recorded, which is the images alone, is removed."""
        if self.path.is_dir() and all(_is_of_images(entry.name) for entry in self.path.iterdir()):
            shutil.rmtree(self.path)
        if self.path.exists():
            stamp = now().replace(":", "")
            self.path.rename(self.path.with_name(f"{self.path.name}.old-{stamp}-{uuid.uuid4().hex[:4]}"))
        self.path.mkdir(parents=True)
        self.write_images(of_round)

    def write_images(self, of_round: RoundImages) -> None:
        write_images(self.path / IMAGES, of_round)
        self.of_round = of_round

    def run(self, pair: int, half: Half) -> Path:
        """The job folder of a run."""
        return self.path / "runs" / run_name(pair, half)

    def export(self, key: str) -> Path:
        """The folder of an export: manifest.json, before.txt, after.txt and events.jsonl."""
        return self.path / "exports" / key[:8]

    def features(self) -> str | None:
        """Name of the cached array that the round's models read, as its first finished run says; None where none says any."""
        for file in sorted(self.path.glob(f"runs/*/{RESULT}")):
            with contextlib.suppress(JobError):
                result = read_result(file.parent)
                if result is not None:
                    return result.features
        return None

    def split_file(self, pair: int) -> Path:
        return self.path / "splits" / f"p{pair:02d}.npy"

    @property
    def weights_file(self) -> Path:
        """How much each image counts in the second stage: float32, an entry an image of images.npz."""
        return self.path / WEIGHTS

    def has_weights(self) -> bool:
        """Whether they are there, and undamaged."""
        try:
            read_weights(self.weights_file, len(self.of_round))
        except (JobError, OSError, ValueError, EOFError):
            return False
        return True

    def write_weights(self, weights: NDArray[np.float32]) -> None:
        with atomic_write(self.weights_file) as out:
            np.save(out, weights)

    def prepare(
        self,
        pair: int,
        half: Half,
        plan: Plan,
        *,
        device: str,
        max_pixels: int,
        keep_model: bool,
        under_way: bool = False,
    ) -> Job:
        """Writes a run's job folder and its pair's split; an earlier failure is cleared away, unless the run is `under_way`: then
        what is there may be what a worker writes now."""
        folder = self.run(pair, half)
        folder.mkdir(parents=True, exist_ok=True)
        if not under_way:
            (folder / RESULT).unlink(missing_ok=True)
            clear_partials(folder)
            Job(folder.name, folder).note(None)
        self.write_split(pair, plan)
        job = JobFile(
            name=folder.name,
            round=self.number,
            pair=pair,
            half=half,
            images=f"../../{self.images_file.name}",
            split=f"../../splits/p{pair:02d}.npy",
            weights=f"../../{WEIGHTS}" if plan.is_second_stage(pair) else None,
            cache="../../../../cache",
            seed=seed_for(plan.seed, self.number, _TRAINING, pair, ord(half)),
            device=device,
            trainer=plan.trainer,
            validator=plan.validator,
            max_pixels=max_pixels,
            class_max=plan.class_max,
            keep_model=keep_model,
        )
        # Not through the run's own folder: there a worker that outlives its dupekit for a moment clears away what it takes for its own.
        write_model(folder / JOB, job, by_way_of=self.path)
        return Job(folder.name, folder)

    def held_out(self, pair: int, half: Half) -> NDArray[np.intp]:
        """The rows of the round's images that a run predicts, ascending. Raises JobError where the split is lost."""
        second = self._split(pair)
        if second is None:
            raise JobError(f"{self.split_file(pair)} is missing or no split of this round.")
        return np.flatnonzero(second if half is Half.A else ~second)

    def _split(self, pair: int) -> NDArray[np.bool_] | None:
        try:
            with open_regular(self.split_file(pair), "rb") as file:
                second: NDArray[np.bool_] = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return second if second.dtype == bool and second.shape == (len(self.of_round),) else None

    def write_split(self, pair: int, plan: Plan) -> None:
        """Writes the split of a pair, if it is not there or damaged: it follows from the plan."""
        file = self.split_file(pair)
        if self._split(pair) is not None:
            return
        file.parent.mkdir(exist_ok=True)
        drawn_for = pair if plan.split == "redraw" else 1
        halves = split(
            self.of_round.labels,
            self.of_round.group_numbers,
            seed=seed_for(plan.seed, self.number, _SPLIT, drawn_for),
        )
        with atomic_write(file) as out:
            np.save(out, halves)
