"""`dupekit history`."""

from __future__ import annotations

from typing import Annotated

import typer

from dupekit.cli.completion import complete_image
from dupekit.cli.output import JsonOption, ProjectOption, open_project, print_json
from dupekit.cli.tables import names, numbers, table, texts, times


def history(
    image: Annotated[
        str | None,
        typer.Argument(
            help="An image as `dupekit flag` prints it; default all steps.", autocompletion=complete_image
        ),
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """What was done, by whom and when. Or what was decided on one image."""
    opened = open_project(project)
    if image is not None:
        changes = opened.history_of(image)
        if json:
            print_json(changes)
            return
        rows = [(c.round, c.at, c.who, c.previous, f"{c.verdict} {c.label}", c.undone) for c in changes]
        table(
            f"Verdicts on {image}",
            [numbers("round"), times("when"), texts("who"), texts("from"), texts("to"), times("undone")],
            rows,
        )
        return
    steps = opened.history()
    if json:
        print_json(steps)
        return
    columns = [
        numbers("round"),
        texts("step"),
        times("when"),
        texts("who"),
        numbers("images"),
        names("where"),
        times("undone"),
    ]
    table("Steps", columns, [(s.round, s.what, s.at, s.who, s.count, s.place, s.undone) for s in steps])
