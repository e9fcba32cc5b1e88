"""`.dupekit/reference/` of a review tree: small pictures of typical images and look-alikes, for whoever reviews it elsewhere.

A tree may lack the folder, and others may write to it: what is read is checked, no link is followed, and a file is never opened by
a name that could lead elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dupekit.files.regular import open_regular
from dupekit.files.write import write_text
from dupekit.review.manifest import MARKER

FOLDER = "reference"
"""Its name in the marker folder."""
INDEX = "index.json"
FILE_NAME = r"[0-9a-f]{16}\.webp"

_MAX_INDEX_BYTES, _MAX_THUMBNAIL_BYTES = 64 * 2**20, 2**20
"""Larger ones are none of ours."""

Number = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ReferenceThumbnail(_Part):
    """A small picture of an image of the dataset."""

    file: str = Field(
        pattern=f"^{FILE_NAME}$", description="In the same folder: the first 16 digits of its digest."
    )
    label: str = Field(description="What the image is taken for: escaped.")
    confirmed: bool = Field(description="Whether somebody said so.")
    width: int = Field(ge=1, description="Of the image, in pixels; its picture may be smaller.")
    height: int = Field(ge=1)


class Beside(_Part):
    """What to show beside one image: numbers of thumbnails, nearest first."""

    given: list[Number] = Field(description="Typical images of its given label.")
    suggested: list[Number] = Field(description="Of the suggested one.")
    alike: list[Number] = Field(description="What looks most like it, whatever its label.")


class ReferenceIndex(_Part):
    """index.json: which pictures there are, and where they are shown."""

    format: Literal["dupekit/reference/1"] = Field("dupekit/reference/1", alias="schema")
    thumbnails: list[ReferenceThumbnail]
    classes: dict[str, list[Number]] = Field(
        description="Class -> numbers of thumbnails that are typical of it, best first."
    )
    beside: dict[str, Beside] = Field(description="By the paths of the tree's files, as in the manifest.")

    @model_validator(mode="after")
    def _check_numbers(self) -> ReferenceIndex:
        lists = [*self.classes.values()]
        for beside in self.beside.values():
            lists += [beside.given, beside.suggested, beside.alike]
        if any(number >= len(self.thumbnails) for numbers in lists for number in numbers):
            raise ValueError("a number of no thumbnail")
        return self


def reference_folder(tree: Path) -> Path:
    return tree / MARKER / FOLDER


def write_index(folder: Path, index: ReferenceIndex) -> None:
    write_text(folder / INDEX, index.model_dump_json(by_alias=True))


def read_index(tree: Path) -> ReferenceIndex | None:
    """None where a tree has none that can be used: it is of an earlier dupekit, or was deleted or damaged."""
    try:
        return ReferenceIndex.model_validate_json(_content(tree, INDEX, _MAX_INDEX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def read_thumbnail(tree: Path, file: str) -> bytes | None:
    """A picture by its name, WebP; None where there is none that can be read. The content is whatever lies there."""
    if not re.fullmatch(FILE_NAME, file):
        return None
    try:
        return _content(tree, file, _MAX_THUMBNAIL_BYTES)
    except (OSError, ValueError):
        return None


def _content(tree: Path, name: str, most: int) -> bytes:
    folder = reference_folder(tree)
    if folder.is_symlink() or folder.parent.is_symlink():
        raise ValueError(f"{folder} is a link")
    with open_regular(folder / name, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{folder / name} is too large")
    return content
