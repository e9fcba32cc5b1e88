"""`dupekit ignore list`, `add`, `remove`, `export` and `import`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.completion import complete_ignored, complete_image
from dupekit.cli.output import JsonOption, ProjectOption, open_project, print_json, say
from dupekit.cli.tables import names, table, texts, times

app = typer.Typer(
    help="The list of images confirmed correct. They are never flagged again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_HELP = "Images as `dupekit flag` prints them."
Paths = Annotated[list[str], typer.Argument(help=_HELP, autocompletion=complete_image)]
Listed = Annotated[list[str], typer.Argument(help=_HELP, autocompletion=complete_ignored)]


@app.command("list")
def list_(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Shows the ignore list."""
    found = open_project(project).ignores()
    if json:
        print_json(found)
    else:
        rows = [(entry.label, entry.path, entry.digest[:12], entry.added) for entry in found]
        table("Ignore list", [names("label"), names("image"), texts("digest"), times("added")], rows)


@app.command()
def add(paths: Paths, project: ProjectOption = None) -> None:
    """Adds images: their content, under the label they have now."""
    added = open_project(project).ignore(paths)
    say(f"{added} added." + _rest(len(set(paths)) - added, "on the list already"))


@app.command()
def remove(paths: Listed, project: ProjectOption = None) -> None:
    """Takes images off the list again."""
    removed = open_project(project).unignore(paths)
    say(f"{removed} removed." + _rest(len(set(paths)) - removed, "not on the list"))


def _rest(count: int, where: str) -> str:
    return f" {count} {'was' if count == 1 else 'were'} {where}." if count else ""


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A CSV that does not exist yet; - for stdout.")],
    project: ProjectOption = None,
) -> None:
    """Writes the list as CSV: digest, label, path, added."""
    from dupekit.errors import UsageError
    from dupekit.files.write import write_text
    from dupekit.review.ignore_list import to_csv

    found = open_project(project).ignores()
    if str(file) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(
            to_csv(found).encode()
        )  # UTF-8 whatever the terminal's encoding: `import` reads it
        return
    if file.exists():
        raise UsageError(f"{file} exists already.", hint="Name another file, or move this one away.")
    write_text(file, to_csv(found))
    say(f"{len(found)} {'entry' if len(found) == 1 else 'entries'} in {file}.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV as `dupekit ignore export` writes it; - for stdin.")],
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Adds what a CSV holds. Where a line is wrong, nothing is added."""
    from dupekit.errors import UsageError

    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.",
            hint="Nothing was imported. Name a file that `dupekit ignore export` wrote.",
        ) from None
    found = open_project(project).import_ignores(content, "stdin" if str(file) == "-" else str(file))
    if json:
        print_json(found)
        return
    say(f"{found.added} added, {found.known} on the list already.")
    for label, count in sorted(found.unknown_labels.items()):
        say(f"{count} of them are of {label}, which is no class of this dataset.")
