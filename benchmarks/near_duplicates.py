"""Near-duplicates: which planted ones are found, what it costs, and what keeping them in one half gains.

    python benchmarks/near_duplicates.py DATASET WORKDIR [--seeds N] [--pairs N]

For each kind of copy, a random 400 images of DATASET are copied in that way; told is how many copies are in the group of their
image, and how many other images are in a group with one that was not made from it. For comparison, the same of two hashes of the
package imagehash, where it is installed: copies within a distance, also mirrored and turned, and all other pairs within it.

Then, for each seed, 2 % of the images get a wrong label, each with a near-copy under the same wrong label, and a round of the
trainer `probe` is run twice on the same images: with near-duplicates kept together, and without. DATASET is only read.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from average_precision import average_precision
from numpy.typing import NDArray
from PIL import Image as PillowImage
from reporting import machine, show

from dupekit import Choices
from dupekit.dataset.decode import decode
from dupekit.dataset.pixels import fit, to_array
from dupekit.files.names import unescape
from dupekit.project import Project
from dupekit.rounds.near_duplicates import SQUARE_PX, comparable, near_duplicates
from dupekit.testing import load_images

COPIES, WRONG = 400, 0.02


def jpeg(image: PillowImage.Image, quality: int) -> PillowImage.Image:
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=quality)
    return PillowImage.open(kept)


def shifted(image: PillowImage.Image) -> PillowImage.Image:
    """By a pixel to the right and down; the border's pixels fill what is left."""
    pixels = np.asarray(image)
    wide = [(1, 0), (1, 0), *[(0, 0)] * (pixels.ndim - 2)]
    return PillowImage.fromarray(np.pad(pixels, wide, mode="edge")[:-1, :-1])


def mirrored(image: PillowImage.Image) -> PillowImage.Image:
    return image.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)


KINDS: dict[str, Callable[[PillowImage.Image], PillowImage.Image]] = {
    "saved as PNG": lambda image: image,
    "saved as JPEG, quality 90": lambda image: jpeg(image, 90),
    "saved as JPEG, quality 75": lambda image: jpeg(image, 75),
    "saved as JPEG, quality 50": lambda image: jpeg(image, 50),
    "shifted by a pixel": shifted,
    "cropped by a pixel": lambda image: image.crop((1, 1, *image.size)),
    "mirrored": mirrored,
    "turned": lambda image: image.transpose(PillowImage.Transpose.ROTATE_90),
    "mirrored, shifted, JPEG 75": lambda image: jpeg(shifted(mirrored(image)), 75),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("workdir", type=Path, help="must not exist yet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True)
    print(machine())
    found(arguments.dataset)
    gained(arguments.dataset, arguments.workdir.absolute(), seeds=arguments.seeds, pairs=arguments.pairs)


def found(dataset: Path) -> None:
    images, _, _ = load_images(dataset)
    n = len(images)
    began = time.perf_counter()
    squares = decode(images, size_px=SQUARE_PX, channels=1, fit="shrink", max_pixels=10**9)
    decoded = time.perf_counter()
    groups = near_duplicates(squares[comparable(images.sizes, images.digests)], images.sizes, images.digests)
    took = time.perf_counter()
    print(
        f"\n{n} images: decoding takes {(decoded - began) / n * 1e4:.1f} s for 10,000, comparing"
        f" {(took - decoded) / n * 1e4:.1f} s; {np.count_nonzero(groups != np.arange(n))} are in the group of another"
    )
    picked = np.random.default_rng(0).choice(n, min(COPIES, n), replace=False)
    originals = [opened(images[row].file) for row in picked.tolist()]
    for kind, make in KINDS.items():
        copies = [make(image) for image in originals]
        of_copies = np.stack([fit(to_array(copy, channels=1), SQUARE_PX, "shrink") for copy in copies])
        every = np.concatenate([squares, of_copies])
        sizes = np.concatenate([images.sizes, [copy.size for copy in copies]])
        names = [f"{row:064x}" for row in range(len(every))]
        grouped = near_duplicates(every[comparable(sizes, names)], sizes, names)
        right = grouped[n:] == grouped[picked]
        others = np.count_nonzero(grouped[:n] != np.arange(n)) + np.count_nonzero(
            (grouped[n:] < n) & (grouped[n:] != picked)
        )
        print(f"{kind:30} found {right.mean():6.1%}, others in a group {others}")
    compare_hashes([opened(image.file) for image in images], originals, picked)


def compare_hashes(
    images: list[PillowImage.Image], originals: list[PillowImage.Image], picked: NDArray[np.int64]
) -> None:
    try:
        import imagehash
    except ImportError:
        return
    for name, of in (("pHash", imagehash.phash), ("dHash", imagehash.dhash)):
        known = packed([of(image) for image in images])
        turned = [packed([of(in_a_way(image, way)) for image in images]) for way in range(8)]
        nearest = np.full(len(known), 64)
        for way in turned:
            apart = np.bitwise_count(way[:, None] ^ known[None])
            np.fill_diagonal(apart, 64)
            nearest = np.minimum(nearest, apart.min(axis=1))
        print(f"\nimagehash's {name}, within a distance of        0      4      8     12")
        for kind, make in KINDS.items():
            copies = packed([of(make(image)) for image in originals])
            apart = np.min([np.bitwise_count(copies ^ way[picked]) for way in turned], axis=0)
            print(f"{kind:38}" + "".join(f"{(apart <= most).mean():7.1%}" for most in (0, 4, 8, 12)))
        within = [(nearest <= most).mean() for most in (0, 4, 8, 12)]
        print(f"{'images that another image is so near':38}" + "".join(f"{share:7.1%}" for share in within))


def in_a_way(image: PillowImage.Image, way: int) -> PillowImage.Image:
    """Mirrored and turned: one of eight ways."""
    return (mirrored(image) if way % 2 else image).rotate(90 * (way // 2), expand=True)


def packed(hashes: list[Any]) -> NDArray[np.uint64]:
    bits = np.stack([one.hash.ravel() for one in hashes])
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def gained(dataset: Path, workdir: Path, *, seeds: int, pairs: int) -> None:
    rows: dict[str, list[float]] = {}
    for seed in range(seeds):
        wrong = plant(dataset, workdir / f"dataset-{seed}", seed=seed)
        figures = {}
        for name, together in (("together", True), ("apart", False)):
            project = Project.create(workdir / f"dataset-{seed}", workdir / f"{name}-{seed}")
            (workdir / "cache").mkdir(exist_ok=True)
            (project.path / "cache").symlink_to(workdir / "cache")
            toml = project.path / "dupekit.toml"
            toml.write_text(f"{toml.read_text()}\nnear_duplicates = {str(together).lower()}\n")
            project = Project(project.path)
            project.scan()
            project.train(Choices(pairs=pairs, trainer="probe", seed=seed))
            counted = project.scores()
            is_wrong = np.array([path in wrong for path in counted.paths])
            first = np.argsort(-counted.scores, kind="stable")[: len(wrong)]
            figures[name] = average_precision(counted.scores, is_wrong), float(is_wrong[first].mean())
        for at, what in enumerate(("average precision", f"found among the first {len(wrong)}")):
            for name in figures:
                rows.setdefault(f"{what}, {name}", []).append(figures[name][at])
            rows.setdefault(f"{what}, gain", []).append(figures["together"][at] - figures["apart"][at])
    show(f"{pairs} pairs of the probe; a wrong label and a near-copy under the same", rows)


def plant(dataset: Path, target: Path, *, seed: int) -> set[str]:
    """Writes a copy of the dataset in which some images, each with a near-copy, are in a wrong class; returns their paths."""
    shutil.copytree(dataset, target)
    images, labels, classes = load_images(target)
    rng = np.random.default_rng(seed)
    kinds = [kind for kind in KINDS if "50" not in kind]
    wrong = set()
    for number, row in enumerate(rng.choice(len(images), round(WRONG * len(images)), replace=False).tolist()):
        other = classes[(labels[row] + rng.integers(1, len(classes))) % len(classes)]
        file = images[row].file
        copy = KINDS[kinds[number % len(kinds)]](opened(file))
        for name, save in (
            (f"w{number}{file.suffix}", file.rename),
            (f"w{number}-copy.png", copy.save),
        ):
            save(target / unescape(other) / name)
            wrong.add(f"{other}/{name}")
    return wrong


def opened(file: Path) -> PillowImage.Image:
    with PillowImage.open(file) as image:
        return image.convert("L" if image.mode == "L" else "RGB")


if __name__ == "__main__":
    main()
