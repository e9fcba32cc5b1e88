"""dupekit.toml: where the dataset lies, and the defaults of the commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from tomlkit.items import Bool

from dupekit.dataset.image_file import MAX_PIXELS
from dupekit.errors import UsageError
from dupekit.files.json_text import LARGEST, in_a_line
from dupekit.files.write import write_text
from dupekit.rounds.rules import RuleName

FILE = "dupekit.toml"
_MAX_DOTS = 200
"""In a line: keys of many parts take Python's parser time by the square of their number."""


class Settings(BaseModel):
    """What a project's dupekit.toml may say; options of the commands go before it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(description="The dataset's folder; its immediate sub-folders are the classes.")
    follow_symlinks: bool = Field(False, description="Also read images that are symbolic links.")
    max_pixels: int = Field(
        MAX_PIXELS, gt=0, le=LARGEST, description="Larger images are refused as decompression bombs."
    )
    pairs: int = Field(10, ge=1, le=99, description="Pairs of trainings in a round.")
    rule: RuleName = Field(
        RuleName.SCORE,
        description="'score': suspects are all images with a score above 0; 'votes': those with `threshold` votes for one"
        " wrong class, the original protocol.",
    )
    threshold: int | None = Field(
        None,
        ge=1,
        le=LARGEST,
        examples=[8],
        description="By the rule 'votes': votes that make a dupe. Unset: four in five of the planned pairs.",
    )
    batch: int = Field(
        300, ge=1, le=LARGEST, description="By the rule 'score': so many suspects go into a review tree."
    )
    class_min: int = Field(
        2, ge=2, le=LARGEST, description="Classes with fewer different images are not assessed."
    )
    class_max: int | None = Field(
        None,
        ge=1,
        le=LARGEST,
        examples=[1000],
        description="A training gets so many images of a class at most, drawn at random. Unset: all.",
    )
    class_config: str | None = Field(
        None,
        examples=["classes.csv"],
        description="A table of classes to train as one or to leave out: a row a class, columns 'class' and 'new name'.",
    )
    class_column: str | None = Field(
        None,
        examples=["new name"],
        description="Which column of it has the new names, where there are several.",
    )
    split: Literal["redraw", "fixed"] = Field(
        "redraw", description="'redraw' draws new halves for each pair; 'fixed' keeps the first."
    )
    near_duplicates: bool = Field(
        True,
        description="Keep images that are nearly the same (saved anew, moved by a pixel, mirrored) in one half, as equal ones"
        " are: so no model is asked about an image that it learnt.",
    )
    seed: int = Field(0, ge=0, le=LARGEST, description="Everything random follows from it.")
    stage: int = Field(
        1,
        ge=1,
        le=2,
        description="2: the second half of a round's pairs is trained with weights: each image counts as far as the first half"
        " held its label for right.",
    )
    trainer: str = Field(
        "auto", description="'auto' is torch where there is a CUDA device and 20,000 images, else probe."
    )
    validator: str = Field("onnx", description="Predicts with the trained models.")
    executor: str = Field("local", description="Where the trainings run.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description='Options of the trainer; those of the others as "validator.x" and "executor.x".',
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            raise ValueError(f"There is no device {value!r}; valid are auto, cpu, cuda and cuda:N")
        return value


def checked(values: dict[str, Any], *, where: str = "") -> Settings:
    """Settings of these values. Raises UsageError naming the first that is wrong."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            f"{where}{in_a_line(error)}.",
            hint=f"The settings are: {', '.join(Settings.model_fields)}.",
        ) from None


def read_settings(path: Path) -> Settings:
    """Raises UsageError where the file is no TOML or a setting is wrong, naming the setting."""
    return parsed(_text(path), path)


def parsed(text: str, path: Path) -> Settings:
    """The settings that a text says; `path` is for messages. Raises as `read_settings`."""
    try:
        if max(line.count(".") for line in f"{text}\n".splitlines()) > _MAX_DOTS:
            raise RecursionError
        values = tomllib.loads(text)
    except RecursionError:
        raise _unreadable(path, "it is nested too deep") from None
    except ValueError as error:
        raise _unreadable(path, error) from None
    return checked(values, where=f"{path}: ")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors add a byte order mark
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception | str) -> UsageError:
    return UsageError(f"{path} cannot be read: {error}.", hint="Correct it in a text editor.")


def write_settings(path: Path, settings: Settings) -> None:
    """Writes a new file with each setting's description; settings at their default are commented out."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Settings of a dupekit project. Options of the commands go before them."))
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        document.add(tomlkit.nl())
        document.add(tomlkit.comment(field.description or ""))
        if value == field.get_default(call_default_factory=True) and not field.is_required():
            shown = (field.examples or [None])[0] if value is None else value
            line = "[options]" if name == "options" else f"{name} = {tomlkit.item(shown).as_string()}"
            document.add(tomlkit.comment(line))
        else:
            document.add(name, value)
    write_text(path, tomlkit.dumps(document))


_OWN_LINKS = "set by `dupekit next`: apply made this dataset of links"


def with_dataset(path: Path, dataset: str, *, own_links: bool) -> str:
    """The text of the file with another dataset; its comments stay.

    Of a dataset that dupekit made of links itself the links are followed, until one comes that it did not. What a person
    set stays.
    """
    document = tomlkit.parse(_text(path))
    document["dataset"] = dataset
    set_already = document.item("follow_symlinks") if "follow_symlinks" in document else None
    by_next = isinstance(set_already, Bool) and _OWN_LINKS in set_already.trivia.comment
    if own_links and not document.get("follow_symlinks"):
        document["follow_symlinks"] = tomlkit.item(True).comment(_OWN_LINKS)
    elif by_next and not own_links:
        del document["follow_symlinks"]
    return tomlkit.dumps(document)
