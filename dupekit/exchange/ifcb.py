"""Results of ifcb_classifier (https://github.com/WHOIGit/ifcb_classifier), of RUN and of TRAIN: .json, .mat and .h5.

`class_labels`, `output_scores` (once called `output_ranks`), and what names the images: `image_fullpaths`, `input_images`,
`image_basenames` (without an extension), or the number of each region of interest in a bin, `roi_numbers` with `bin_id`. The class
scores that the IFCB dashboard takes are read, too: they say the bin in the file's name, and version 1 has other names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dupekit.exchange.libraries import library
from dupekit.exchange.predicted import Predicted, check_size, parsing, refused

_CLASSES = ("class_labels", "class2useTB")
_SCORES = ("output_scores", "output_ranks", "TBscores")
_IMAGES = ("image_fullpaths", "input_images", "image_basenames")
_ROIS = ("roi_numbers", "roinum")
_BIN = ("bin_id", "bin")
_WANTED = (*_CLASSES, *_SCORES, *_IMAGES, *_ROIS, *_BIN)
_BIN_NAME = re.compile(r"D\d{8}T\d{6}_IFCB\d+|IFCB\d+_\d{4}_\d{3}_\d{6}")
_LARGEST_JSON = 1 << 30
_ITEM_BYTES = 8
"""Of a number, at most, and of a reference to a text."""

Values = dict[str, Any]


def read_json(file: Path) -> Predicted:
    if file.stat().st_size > _LARGEST_JSON:
        raise refused(
            str(file), f"is larger than {_LARGEST_JSON >> 30} GiB", hint="Write .h5 or .npz instead."
        )
    with parsing(str(file), "JSON"):
        found = json.loads(file.read_bytes())
    return _predicted(file, found if isinstance(found, dict) else {})


def read_mat(file: Path) -> Predicted:
    io = library("scipy.io", of=str(file))
    with file.open("rb") as opened:
        if opened.read(20).startswith(b"MATLAB 7.3"):
            raise refused(
                str(file),
                "is of MATLAB's format 7.3",
                hint="Save it with `-v7`, or as .h5 as ifcb_classifier does.",
            )
    with parsing(str(file), "file of MATLAB"):
        for name, shape, _ in io.whosmat(file):
            check_size(str(file), name, shape, _ITEM_BYTES)
        found = io.loadmat(file, variable_names=_WANTED)
    return _predicted(file, found)


def read_h5(file: Path) -> Predicted:
    h5py = library("h5py", of=str(file))
    with file.open("rb"):
        pass  # what the system says is clearer than h5py's words
    found: Values = {}
    with parsing(str(file), "HDF5 file"), h5py.File(file, "r") as opened:
        for name in _WANTED:
            data = opened.get(name)
            if isinstance(data, h5py.Dataset):
                check_size(str(file), name, data.shape or (), _ITEM_BYTES)
                found[name] = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
        for holder in (opened, opened.get("metadata")):
            for name in _BIN:
                if holder is not None and name in holder.attrs:
                    found.setdefault(name, holder.attrs[name])
    return _predicted(file, found)


def _predicted(file: Path, found: Values) -> Predicted:
    labels, scores = _first(found, _CLASSES), _first(found, _SCORES)
    if labels is None or scores is None:
        missing = " and ".join(
            name for name, value in (("class_labels", labels), ("output_scores", scores)) if value is None
        )
        raise refused(
            str(file),
            f"has no {missing}",
            hint="What is read is what ifcb_classifier writes; of a training, its result files must name output_scores.",
        )
    classes = _texts(labels)
    try:
        probabilities = np.array(scores, np.float32)
    except (ValueError, TypeError):
        raise refused(str(file), "has output_scores that are no table of numbers") from None
    if probabilities.ndim == 1 and len(probabilities) == len(classes):
        probabilities = probabilities[None]
    if (
        probabilities.ndim == 2
        and len(classes) == probabilities.shape[1] + 1
        and classes[-1] == "unclassified"
    ):
        classes = classes[:-1]  # the dashboard's version 1: a label that has no column
    return Predicted(str(file), _images(file, found), classes, probabilities)


def _images(file: Path, found: Values) -> list[str]:
    names = _first(found, _IMAGES)
    if names is not None:
        return _texts(names)
    rois = _first(found, _ROIS)
    if rois is None:
        raise refused(
            str(file),
            f"does not name its images: it has none of {', '.join((*_IMAGES, _ROIS[0]))}",
            hint="Of a training, its result files must name image_fullpaths or image_basenames.",
        )
    bins = _texts(_first(found, _BIN)) if _first(found, _BIN) is not None else []
    known = _BIN_NAME.match(file.name)
    name = bins[0] if bins else known.group() if known else None
    if not name:
        raise refused(
            str(file),
            "has numbers of regions, and no name of the bin",
            hint="Name the file after it, as in D20140117T003426_IFCB014_class.h5.",
        )
    return [f"{name}_{int(number):05d}" for number in np.ravel(rois)]


def _first(found: Values, names: tuple[str, ...]) -> Any:
    return next((found[name] for name in names if name in found), None)


def _texts(values: Any) -> list[str]:
    """Names, also of MATLAB's cells, an array in each, and of its tables of characters, which are filled up with spaces."""
    cells = np.ravel(np.asarray(values, object) if isinstance(values, list) else values)
    padded = cells.dtype.kind == "U"
    return [_text(cell).rstrip() if padded else _text(cell) for cell in cells]


def _text(cell: Any) -> str:
    if isinstance(cell, np.ndarray):
        return str(cell.ravel()[0]) if cell.size else ""
    return cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else str(cell)


READERS: dict[str, Callable[[Path], Predicted]] = {
    ".json": read_json,
    ".mat": read_mat,
    ".h5": read_h5,
    ".hdf5": read_h5,
}
