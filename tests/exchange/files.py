"""Files of predictions, as other programs write them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES = ("a/1.png", "a/2.png", "b/3.png")
CLASSES = ("a", "b")
VALUES = np.array(
    [[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], np.float32
)  # halves of halves: exact in every format


def wide(file: Path, images: Sequence[str], classes: Sequence[str], values: NDArray[np.floating]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["image", *classes])
        writer.writerows([name, *row] for name, row in zip(images, values.tolist(), strict=True))
    return file


def long(file: Path, images: Sequence[str], classes: Sequence[str], values: NDArray[np.floating]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["class", "probability", "path"])
        for name, row in zip(images, values.tolist(), strict=True):
            writer.writerows([label, value, name] for label, value in zip(classes, row, strict=True) if value)
    return file


def npz(file: Path, images: Sequence[str], classes: Sequence[str], values: NDArray[np.floating]) -> Path:
    np.savez_compressed(
        file, probabilities=values, paths=np.array(images, str), classes=np.array(classes, str)
    )
    return file


def run_json(file: Path, images: Sequence[str], classes: Sequence[str], values: NDArray[np.floating]) -> Path:
    """As ifcb_classifier's RUN does of images."""
    content = {
        "version": "v3",
        "model_id": "m",
        "timestamp": "t",
        "class_labels": list(classes),
        "output_scores": values.tolist(),
        "output_classes": values.argmax(axis=1).tolist(),
        "input_images": list(images),
    }
    file.write_text(json.dumps(content))
    return file


def train_mat(
    file: Path, images: Sequence[str], classes: Sequence[str], values: NDArray[np.floating]
) -> Path:
    """As its TRAIN does: names as cells, numbers of classes from 1."""
    from scipy.io import savemat

    content = {
        "model_id": "m",
        "f1_weighted": np.float32(0.5),
        "class_labels": np.asarray(classes, object),
        "input_classes": np.ones(len(images), "u4"),
        "output_classes": values.argmax(axis=1).astype("u4") + 1,
        "image_fullpaths": np.asarray([f"/hpc/data/{name}" for name in images], object),
        "output_scores": values.astype("f4"),
    }
    savemat(file, content, do_compression=True)
    return file


def run_h5(
    file: Path,
    images: Sequence[str],
    classes: Sequence[str],
    values: NDArray[np.floating],
    *,
    scores: str = "output_scores",
) -> Path:
    """As its RUN does, in half precision."""
    import h5py

    with h5py.File(file, "w") as out:
        out.create_dataset("metadata", data=h5py.Empty("f")).attrs["model_id"] = "m"
        out.create_dataset(scores, data=values, compression="gzip", dtype="float16")
        for name, texts in (("class_labels", classes), ("input_images", images)):
            out.create_dataset(name, data=np.bytes_(texts), compression="gzip", dtype=h5py.string_dtype())
    return file


def bin_h5(
    file: Path, rois: Sequence[int], classes: Sequence[str], values: NDArray[np.floating], bin_id: str | None
) -> Path:
    """As its RUN does of a bin."""
    import h5py

    with h5py.File(file, "w") as out:
        meta = out.create_dataset("metadata", data=h5py.Empty("f"))
        if bin_id:
            meta.attrs["bin_id"] = bin_id
        out.create_dataset("output_scores", data=values, compression="gzip", dtype="float16")
        out.create_dataset(
            "class_labels", data=np.bytes_(classes), compression="gzip", dtype=h5py.string_dtype()
        )
        out.create_dataset("roi_numbers", data=rois, compression="gzip", dtype="uint16")
    return file
