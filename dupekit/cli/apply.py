"""`dupekit apply`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli._console import (
    JsonOption,
    ProjectOption,
    open_project,
    print_json,
    progress_bars,
    say,
    table,
)


class ModeChoice(StrEnum):
    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


def register(app: typer.Typer) -> None:
    app.command()(apply)


def apply(
    dest: Annotated[Path, typer.Argument(help="Where to write the corrected dataset; must not exist.")],
    mode: Annotated[ModeChoice, typer.Option(help="How each file gets there.")] = ModeChoice.copy,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Writes the corrected dataset beside the untouched original, and patch.csv."""
    opened = open_project(project)
    with progress_bars() as progress:
        done = opened.apply(dest, mode=mode.value, progress=progress)
    if json:
        print_json(done)
        return
    if done.unread:
        table("Not in it, because they could not be read", ["image"], [(path,) for path in done.unread])
    expunged = sum(not c.new_label for c in done.corrections)
    say(
        f"{done.files} images in {done.destination}: {len(done.corrections) - expunged} relabelled,"
        f" {expunged} expunged. What changed: {done.patch}\n"
        "Next: dupekit next begins another round on it."
    )
