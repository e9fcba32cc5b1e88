"""`dupekit init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.output import JsonOption, print_json, say
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.scan import show_scan


def init(
    dataset: Annotated[Path, typer.Argument(help="The dataset: a folder whose sub-folders are the classes.")],
    project: Annotated[
        Path | None,
        typer.Option("-p", "--project", help="Where to make the project; default DATASET-dupekit beside it."),
    ] = None,
    follow_symlinks: Annotated[bool, typer.Option(help="Also read images that are symbolic links.")] = False,
    json: JsonOption = False,
) -> None:
    """Makes a project for a dataset and scans it."""
    from dupekit.files.paths import absolute
    from dupekit.project import Project

    there = absolute(dataset)
    place = project or there.with_name(f"{there.name}-dupekit")
    made = Project.create(dataset, place, follow_symlinks=follow_symlinks)
    with progress_bars() as progress:
        found = made.scan(progress=progress)
    if json:
        print_json({"project": made.path, "scan": found})
        return
    show_scan(found)
    say(f"Project {made.path} is ready.\nNext: dupekit train -p {made.path}")
