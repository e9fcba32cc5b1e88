"""`dupekit withdraw`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.completion import complete_tree
from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say


def withdraw(
    tree: Annotated[
        Path | None,
        typer.Argument(
            help="The review tree, its manifest, or where it was; default the only one with open images.",
            autocompletion=complete_tree,
        ),
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Calls a review tree back: what is open goes out again."""
    found = open_project(project).withdraw(tree)
    if json:
        print_json(found)
        return
    say(
        f"Called back {found.tree}: {counted(found.open, 'open image')} may go out again."
        f" {counted(found.decided, 'decision')} of it {'stays' if found.decided == 1 else 'stay'}. No file was touched;"
        " what is done in the tree from now on can still be collected."
    )
