"""`dupekit ignore list`, `add` and `remove`."""

from __future__ import annotations

from typing import Annotated

import typer

from dupekit.cli._console import JsonOption, ProjectOption, open_project, print_json, say, table

app = typer.Typer(
    help="The list of images confirmed correct, which are never flagged again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Paths = Annotated[list[str], typer.Argument(help="Images as `dupekit flag` prints them.")]


@app.command("list")
def list_(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Shows the ignore list."""
    found = open_project(project).ignores()
    if json:
        print_json(found)
    else:
        rows = [(entry.label, entry.path, entry.digest[:12], entry.added) for entry in found]
        table("Ignore list", ["label", "image", "digest", "added"], rows)


@app.command()
def add(paths: Paths, project: ProjectOption = None) -> None:
    """Adds images: their content, under the label they have now."""
    say(f"{open_project(project).ignore(paths)} added.")


@app.command()
def remove(paths: Paths, project: ProjectOption = None) -> None:
    """Takes images off the list again."""
    say(f"{open_project(project).unignore(paths)} removed.")
