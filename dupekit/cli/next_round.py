"""`dupekit next`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, open_project, print_json, say
from dupekit.cli.scan import show_scan


def next_round(
    dataset: Annotated[
        Path | None, typer.Argument(help="Default: the last corrected dataset, else the same as before.")
    ] = None,
    drop: Annotated[
        bool,
        typer.Option(
            "--drop",
            help="Also where trees are out, verdicts uncollected or corrections unapplied. Cancels submitted runs.",
        ),
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Ends the current round. The next one begins on the corrected dataset."""
    opened = open_project(project)
    found = opened.next_round(dataset, drop=drop)
    if json:
        print_json({"dataset": opened.dataset, "scan": found})
        return
    show_scan(found)
    say(f"The next round is on {opened.dataset}.\nNext: dupekit train")
