"""Tiny datasets, job folders and registrations for tests; all deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dupekit.api import TRAINERS, VALIDATORS, Images, Job
from dupekit.dataset.columns import DigestColumn, TextColumn
from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.dataset.scan import list_dataset, read_files
from dupekit.files.names import escape
from dupekit.jobs.files import JOB, Choice, Half, JobFile, run_name, write_model
from dupekit.jobs.images import IMAGES, RoundImages, write_images
from dupekit.rounds.split import seed_for, split

CLASSES = ("copepod", "diatom", "dinoflagellate")

FAKES = {
    TRAINERS: {"fake": "dupekit.testing:CentroidTrainer"},
    VALIDATORS: {"fake": "dupekit.testing:CentroidValidator"},
}


def make_dataset(
    folder: Path,
    *,
    classes: Sequence[str] = CLASSES,
    per_class: int | Mapping[str, int] = 20,
    seed: int = 0,
    size_px: int = 32,
) -> Path:
    """Writes small grey PNG files, `folder/<class>/<number>.png`, and returns `folder`.

    Class k shows the k-th two-dimensional cosine pattern, coarse ones first, in varying contrast under
    noise: easy to tell apart, also turned or mirrored, yet no two files are equal. Images are `size_px` high and up to half as wide
    again. An image depends on its class's position, its number and `seed` only. A class with 0 images is
    an empty folder.
    """
    for position, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        count = per_class if isinstance(per_class, int) else per_class[name]
        for number in range(count):
            rng = np.random.default_rng((seed, position, number))
            PillowImage.fromarray(_draw(position, size_px, rng)).save(folder / name / f"{number:04d}.png")
    return folder


def load_images(folder: Path) -> tuple[Images, NDArray[np.int32], tuple[str, ...]]:
    """A dataset folder as plugins are given it: images, given labels (n,) as positions in classes, classes.

    Raises DatasetError as `dupekit.dataset.scan.list_dataset`. Unreadable files are left out.
    """
    listing = list_dataset(folder)
    contents = [content for content in read_files(folder, listing.files) if not content.problem]
    position = {name: i for i, name in enumerate(listing.classes)}
    images = Images(
        folder,
        [content.file.path for content in contents],
        [content.digest for content in contents],
        np.array([(content.width, content.height) for content in contents], np.int32).reshape(-1, 2),
    )
    labels = np.array([position[content.file.label] for content in contents], np.int32)
    return images, labels, tuple(listing.classes)


def make_jobs(
    folder: Path,
    dataset: Path,
    *,
    pairs: int = 1,
    seed: int = 0,
    trainer: str = "fake",
    trainer_options: Mapping[str, Any] | None = None,
    validator: str = "fake",
    device: str = "cpu",
) -> list[Job]:
    """Writes the job folders of a round of 1 to 99 pairs, `folder/runs/p01-a` and so on; returns its 2N jobs.

    `trainer` and `validator` are names of plugins that the worker will find; see `register`.
    """
    images, labels, classes = load_images(dataset)
    of_round = RoundImages(
        dataset=escape(str(dataset.resolve())),
        classes=list(classes),
        folders=None,
        ids=np.arange(1, len(images) + 1),
        paths=TextColumn.of(images.paths),
        digests=DigestColumn.of(images.digests),
        sizes=images.sizes,
        labels=labels,
    )
    (folder / "splits").mkdir(parents=True)
    write_images(folder / IMAGES, of_round)
    jobs = []
    for pair in range(1, pairs + 1):
        halves = split(labels, of_round.group_numbers, seed=seed_for(seed, pair))
        np.save(folder / "splits" / f"p{pair:02d}.npy", halves)
        for half in Half:
            job = Job(run_name(pair, half), folder / "runs" / run_name(pair, half))
            job.folder.mkdir(parents=True)
            content = JobFile(
                name=job.name,
                round=1,
                pair=pair,
                half=half,
                images=f"../../{IMAGES}",
                split=f"../../splits/p{pair:02d}.npy",
                cache="../../cache",
                seed=seed_for(seed, pair, ord(half)),
                device=device,
                trainer=Choice(name=trainer, options=dict(trainer_options or {})),
                validator=Choice(name=validator),
                max_pixels=MAX_PIXELS,
                keep_model=False,
            )
            write_model(job.folder / JOB, content)
            jobs.append(job)
    return jobs


def register(
    folder: Path,
    plugins: Mapping[str, Mapping[str, str]] = FAKES,
    *,
    distribution: str = "dupekit_fakes",
) -> Path:
    """Registers plugins, by group and name, for every Python that has `folder` on its PYTHONPATH.

    Writes the metadata of an installed distribution, nothing else; a target is "package.module:Class".
    By default the fakes of this package, as trainer and validator "fake". Returns `folder`.
    """
    info = folder / f"{distribution}-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0\n", encoding="utf-8"
    )
    lines = []
    for group, points in plugins.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _draw(position: int, size_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One image of the class at this position, shape (size_px, width)."""
    # Pairs of frequencies with the larger one down: (1, 0), (1, 1), (2, 0), (2, 1), (2, 2) … No pattern is
    # another one turned or mirrored, since trainers may turn and mirror.
    down, across = 1, position
    while across > down:
        across -= down + 1
        down += 1
    width = int(rng.integers(size_px, size_px * 3 // 2 + 1))
    x, y = (np.arange(width) + 0.5) / width, (np.arange(size_px) + 0.5) / size_px
    pattern = np.outer(np.cos(np.pi * down * y), np.cos(np.pi * across * x))
    grey = 128 + rng.uniform(50, 90) * pattern + rng.normal(0, 20, pattern.shape)
    drawn: NDArray[np.uint8] = np.clip(grey, 0, 255).astype(np.uint8)
    return drawn
