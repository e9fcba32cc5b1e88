"""`dupekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say, warn
from dupekit.cli.progress_bars import progress_bars
from dupekit.errors import UsageError
from dupekit.files.names import escape

if TYPE_CHECKING:
    from dupekit.workflow.report import Reported
    from dupekit.workflow.sheets import SheetsWritten


def report(
    out: Annotated[
        Path | None,
        typer.Argument(help="The file; default rounds/NN/report.html (or classes.html) in the project."),
    ] = None,
    project: ProjectOption = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Reference sheets instead: a page a class, to print.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many suspects, the most suspicious; default 5000.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json: JsonOption = False,
) -> None:
    """Writes a page of the suspects beside typical images.

    Also on it: which class is taken for which, agreement per class, what the review found, rounds.

    The page needs no server and no network. A training may go on meanwhile."""
    if classes and limit is not None:
        raise UsageError("`--limit` counts suspects, and reference sheets show none.", hint="Leave it out.")
    opened = open_project(project)
    made: Reported | SheetsWritten
    with progress_bars() as progress:
        if classes:
            made = opened.class_sheets(out, progress=progress)
        else:
            made = opened.report(out, progress=progress, **({} if limit is None else {"limit": limit}))
    if json:
        print_json(made)
    else:
        _say(made)
    if show:
        typer.launch(made.file.as_uri())


def _say(made: Reported | SheetsWritten) -> None:
    from dupekit.workflow.report import Reported

    if made.unreadable:
        warn(f"{counted(made.unreadable, 'image')} could not be shown.")
    if isinstance(made, Reported):
        first = f"the {made.suspects:,} most suspicious of " if made.suspects < made.total else ""
        holds = f"{first}{counted(made.total, 'suspect')} of round {made.round}"
    else:
        holds = f"reference sheets of {'1 class' if made.classes == 1 else f'{made.classes:,} classes'}"
    say(f"{escape(str(made.file))} ({made.size_bytes / 1e6:.1f} MB): {holds}.")
