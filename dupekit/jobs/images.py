"""images.npz: the images of a round, as columns. Opened in no time by any number of workers, which share what is mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dupekit.dataset.columns import DIGEST_BYTES, DigestColumn, TextColumn, numbered
from dupekit.dataset.images import Images
from dupekit.errors import JobError
from dupekit.files.arrays import DAMAGED, Arrays, write_arrays
from dupekit.files.json_text import in_a_line
from dupekit.files.names import unescape
from dupekit.files.paths import placed, relative
from dupekit.files.regular import open_regular
from dupekit.files.write import atomic_write
from dupekit.jobs.files import read_model

IMAGES, FIRST_FORMAT = "images.npz", "images.json"


class About(BaseModel):
    """images.npz: the images of a round, an uncompressed NumPy archive. This is its array `about`: JSON in UTF-8, as uint8.
    Each other array has an entry an image. `ids` int64: numbers in the ledger, ascending; those of a test folder come after all in
    the ledger. `labels` int32: given labels, positions in classes. `sizes` int32, (n, 2): width and height in pixels. `digests` uint8,
    (n, 32): SHA-256. `paths` uint8: the paths one after the other, in UTF-8, relative to the dataset, escaped; those of an
    evaluation's test folder absolute. `path_ends` int64: where each path ends in `paths`. `groups` int64, if it is there: images
    with an equal number are the same, or nearly, and stay in one half, that of the group's first image; without it only images
    with an equal digest are a group."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, title="images.npz")

    format: Literal["dupekit/images/2"] = Field("dupekit/images/2", alias="schema")
    dataset: str = Field(
        description="The dataset's folder, escaped: absolute, or relative to the folder of this file."
    )
    classes: list[str] = Field(description="What the models tell apart.")
    folders: list[str] | None = Field(
        None,
        description="Under a class view: for each of the classes the folder of the dataset that is meant where a model names it."
        " Without: the classes are the folders.",
    )


class _FirstFormat(BaseModel):
    """images.json, as dupekit wrote it before images.npz: lists with an entry an image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["dupekit/images/1"] = Field("dupekit/images/1", alias="schema")
    dataset: str
    classes: list[str]
    folders: list[str] | None = None
    ids: list[int]
    paths: list[str]
    digests: list[str]
    sizes: list[tuple[int, int]]
    labels: list[int]
    groups: list[int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RoundImages:
    """The images of a round, as columns; their arrays are as images.npz has them."""

    dataset: str
    classes: list[str]
    folders: list[str] | None
    ids: NDArray[np.int64]
    paths: TextColumn
    digests: DigestColumn
    sizes: NDArray[np.int32]
    labels: NDArray[np.int32]
    groups: NDArray[np.int64] | None = None
    movable: bool = False
    """Whether the dataset goes with its project: their file then names it relative to itself."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, image: int) -> int:
        """Where the image of this number stands. Raises ValueError where it is none of the round's."""
        found = int(np.searchsorted(self.ids, image))
        if found == len(self) or self.ids[found] != image:
            raise ValueError(f"the round has no image {image}")
        return found

    @property
    def contents(self) -> NDArray[np.int64]:
        """Numbers that are equal for identical images, shape (n,)."""
        return numbered(self.digests)

    @property
    def group_numbers(self) -> NDArray[np.int64]:
        """The group of each image, shape (n,): equal numbers stay in one half."""
        return self.contents if self.groups is None else self.groups

    @property
    def meant(self) -> list[str]:
        """For each of the classes the dataset's own class that is meant where a model names it."""
        return self.classes if self.folders is None else self.folders

    @property
    def given(self) -> list[str]:
        """Each image's own class in the dataset; the same text for all of a class."""
        if self.folders is None:
            return [self.classes[label] for label in self.labels.tolist()]
        known: dict[str, str] = {}
        labels = (path.partition("/")[0] for path in self.paths)
        return [known.setdefault(label, label) for label in labels]

    def as_images(self) -> Images:
        return Images(Path(unescape(self.dataset)), self.paths, self.digests, self.sizes)

    def arrays(self, dataset: str) -> dict[str, NDArray[Any]]:
        """As they stand in an images.npz that names the dataset so, by name."""
        about = About(dataset=dataset, classes=self.classes, folders=self.folders)
        first = self.paths.start
        found: dict[str, NDArray[Any]] = {
            "about": np.frombuffer(about.model_dump_json(by_alias=True).encode(), np.uint8),
            "ids": self.ids,
            "labels": self.labels,
            "sizes": self.sizes,
            "digests": self.digests.values,
            "path_ends": self.paths.ends - first,
            "paths": self.paths.data[first : int(self.paths.ends[-1]) if len(self) else first],
        }
        return found if self.groups is None else found | {"groups": self.groups}


def write_images(file: Path, images: RoundImages) -> None:
    """Writes images.npz, atomically."""
    dataset = relative(images.dataset, file.parent) if images.movable else images.dataset
    with atomic_write(file) as out:
        write_arrays(out, images.arrays(dataset))


def read_images(file: Path) -> RoundImages:
    """Reads images.npz; or images.json, by its name. Raises JobError where it is missing or not valid."""
    try:
        if file.suffix == ".json":
            return _checked(_of_first(read_model(file, _FirstFormat)))
        with open_regular(file, "rb") as content:
            return _checked(_read(Arrays(content), file.parent))
    except OSError as error:
        raise JobError(
            f"{file} cannot be read: {error.strerror or error}.",
            hint="Run `dupekit train` again to prepare it anew.",
        ) from None
    except DAMAGED as error:
        raise JobError(
            f"{file} is not valid: {in_a_line(error)}.",
            hint="Delete this file and run `dupekit train` again.",
        ) from None


def _read(arrays: Arrays, folder: Path) -> RoundImages:
    about = About.model_validate_json(arrays.read("about", np.uint8).tobytes())
    return RoundImages(
        placed(about.dataset, folder),
        about.classes,
        about.folders,
        arrays.read("ids", np.int64),
        TextColumn.checked(arrays.mapped("paths"), arrays.read("path_ends", np.int64)),
        DigestColumn(arrays.mapped("digests", DIGEST_BYTES)),
        arrays.read("sizes", np.int32, 2),
        arrays.read("labels", np.int32),
        arrays.read("groups", np.int64) if "groups" in arrays else None,
        movable=not Path(unescape(about.dataset)).is_absolute(),
    )


def _of_first(found: _FirstFormat) -> RoundImages:
    return RoundImages(
        found.dataset,
        found.classes,
        found.folders,
        np.array(found.ids, np.int64),
        TextColumn.of(found.paths),
        DigestColumn.of(found.digests),
        np.array(found.sizes, np.int32).reshape(-1, 2),
        np.array(found.labels, np.int32),
        None if found.groups is None else np.array(found.groups, np.int64),
    )


def _checked(images: RoundImages) -> RoundImages:
    """Raises ValueError where the columns do not belong together."""
    columns = (images.paths, images.digests, images.sizes, images.labels, images.groups)
    lengths = {len(images), *(len(column) for column in columns if column is not None)}
    if len(lengths) > 1:
        raise ValueError(f"its columns have {' and '.join(map(str, sorted(lengths)))} entries")
    if not (np.diff(images.ids) > 0).all():
        raise ValueError("its ids do not ascend")
    if len(images) and not 0 <= images.labels.min() <= images.labels.max() < len(images.classes):
        raise ValueError(f"a label is none of its {len(images.classes)} classes")
    if images.folders is not None and len(images.folders) != len(images.classes):
        raise ValueError(f"{len(images.folders)} folders for {len(images.classes)} classes")
    return images
