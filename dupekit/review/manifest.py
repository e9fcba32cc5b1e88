"""The manifest: what a review tree holds. Written by an export, believed by a review."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from dupekit.errors import TreeUnavailable, UsageError
from dupekit.files.json_text import LARGEST, in_a_line
from dupekit.files.regular import open_regular, read_regular
from dupekit.files.write import write_text

MARKER = ".dupekit"
"""The folder that marks a review tree; a tree without it is never read."""
DONE = "_done"
RIGHT = "_right"
EXPUNGE = "_expunge"
UNSURE = "_unsure"
SPECIAL = (DONE, EXPUNGE, RIGHT, UNSURE)
"""Folders that stand for what was decided, not for a class."""
READ_ME = "_READ_ME.html"
CLASSES = "_classes.txt"
BESIDE = (READ_ME, CLASSES)
"""Files beside the folders, for whoever works on the tree; no part of what is reviewed."""


def refuse_inside_tree(path: Path) -> None:
    """Raises UsageError where `path` would lie in a review tree: what is written there would be read as reviewed."""
    for folder in path.resolve().parents:
        with contextlib.suppress(OSError):  # a folder that may not be looked into
            if (folder / MARKER).is_dir():
                raise UsageError(
                    f"{path} lies inside the review tree {folder}.", hint="Name a folder outside of it."
                )


# Not a BaseModel: a tree of 100,000 files takes a quarter of the memory so.
@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class ExportedFile:
    """One file of the tree."""

    path: Annotated[str, Field(description="In the tree: escaped, relative, '/' between parts.")]
    original: Annotated[str, Field(description="In the dataset, likewise.")]
    given: Annotated[str, Field(description="Given label.")]
    suggested: Annotated[str, Field(description="Suggested label.")]
    votes: Annotated[int, Field(ge=0, le=LARGEST)]
    score: float
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the content.")]
    size: Annotated[
        int | None,
        Field(
            ge=0,
            le=LARGEST,
            description="Of the file in the tree, in bytes; in a manifest of an earlier dupekit unknown.",
        ),
    ] = None
    copy_digest: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="SHA-256 of the file in the tree, where that is an enlarged copy; null: it is the image itself.",
        ),
    ] = None
    stratum: Annotated[
        int | None,
        Field(
            ge=0,
            le=LARGEST,
            description="Of an image of the audit: from which stratum of scores it was drawn; null: a suspect.",
        ),
    ] = None
    population: Annotated[
        int | None, Field(ge=1, le=LARGEST, description="How many images that stratum had when it was drawn.")
    ] = None

    @property
    def content(self) -> str:
        """Digest of the file in the tree."""
        return self.copy_digest or self.digest


_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
"""Of two that JSON may write a character as; dupekit writes the character."""


class Manifest(BaseModel):
    """manifest.json: what a review tree holds, and which folder stands for which class."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: Literal["dupekit/manifest/1"] = Field("dupekit/manifest/1", alias="schema")
    export: str = Field(description="Names this export, and no other, wherever the tree goes.")
    round: int = Field(ge=1, le=LARGEST)
    pairs: int = Field(ge=1, le=LARGEST, description="Pairs of runs that voted.")
    created: str = Field(description="UTC, ISO 8601.")
    folders: dict[str, str] = Field(
        description="Folder at the top of the tree -> class. A class's folder may not exist in the tree."
    )
    settled_us: int | None = Field(
        None,
        ge=0,
        le=LARGEST,
        description="When the last file of the tree was written: its time of change (ctime) by the clock of the tree's"
        " file system, in microseconds since 1970. A file in its place that was not changed since holds what was"
        " exported. Unknown in a manifest of an earlier dupekit.",
    )
    enlarged: int = Field(1, ge=1, le=LARGEST, description="Factor by which all copies are enlarged.")
    files: list[ExportedFile]


def write_manifest(manifest: Manifest, path: Path) -> None:
    write_text(path, manifest.model_dump_json(indent=1, by_alias=True) + "\n")


def read_manifest(path: Path) -> Manifest:
    """Raises TreeUnavailable where the file is missing or is no manifest."""
    try:
        # Not model_validate_json, and read as text: of 100,000 files, 46 MiB less at the largest.
        text = read_regular(path).decode()
        if _HALF_A_PAIR.search(text):
            json.dumps(json.loads(text), ensure_ascii=False).encode()  # a lone surrogate is no text
        return Manifest.model_validate(json.loads(text, object_hook=partial(_made, {})))
    except OSError as error:
        raise TreeUnavailable(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check that this is a review tree made by `dupekit export`, and that its share is mounted.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise TreeUnavailable(
            f"{path} is not a manifest of a review tree: {in_a_line(error)}.",
            hint="Restore the folder .dupekit of the tree, or export again.",
        ) from None


def export_key(tree: Path) -> str | None:
    """Which export a tree says that it is, without reading its whole manifest; None where it does not say."""
    try:
        with open_regular(tree / MARKER / "manifest.json", "rb") as file:
            found = re.search(r'"export":\s*"([^"\\]*)"', file.read(4096).decode(errors="replace"))
    except OSError:
        return None
    return found[1] if found else None


def _made(sizes: dict[int, int], found: dict[str, Any]) -> Any:
    """A file as soon as it is read, so that no mapping of it lives on; each label and size once."""
    if not isinstance(found.get("votes"), int):  # the manifest itself, or its folders
        return found
    for name in ("given", "suggested"):
        if type(found.get(name)) is str:
            found[name] = sys.intern(found[name])
    if type(size := found.get("size")) is int:
        found["size"] = sizes.setdefault(size, size)
    return ExportedFile(**found)
