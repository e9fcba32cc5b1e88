"""`dupekit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, open_project, print_json, say
from dupekit.cli.progress_bars import progress_bars


def export(
    dest: Annotated[
        Path | None, typer.Argument(help="The tree's folder; default rounds/NN/dupes in the project.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Copies the dupes into a review tree. Beside it: before.txt and manifest.json."""
    opened = open_project(project)
    with progress_bars() as progress:
        made = opened.export(dest, progress=progress)
    if json:
        print_json({"tree": made.tree, "manifest": made.manifest})
        return
    say(
        f"{len(made.manifest.files)} images to review in {made.tree}\n"
        "In each class folder: delete what is labelled right, leave what is wrong, move it to another class's"
        " folder,\nto _expunge (drop it) or to _unsure. Then: dupekit collect (or, meanwhile, dupekit watch)"
    )
