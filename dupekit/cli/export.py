"""`dupekit export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say
from dupekit.cli.progress_bars import progress_bars
from dupekit.files.names import escape
from dupekit.review.style import Order, Style

if TYPE_CHECKING:
    from dupekit.workflow.export import Exported


def export(
    dest: Annotated[
        Path | None,
        typer.Argument(help="The tree's folder; default rounds/NN/dupes in the project, then dupes-2 ..."),
    ] = None,
    project: ProjectOption = None,
    limit: Annotated[int | None, typer.Option(help="So many suspects; default: the setting batch.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All suspects that wait.")] = False,
    audit: Annotated[
        int, typer.Option(help="So many images more, drawn from those that are no suspects.")
    ] = 0,
    order: Annotated[
        Order, typer.Option(help="rank: a number begins each name, the most suspicious first.")
    ] = Order.NAME,
    enlarge: Annotated[
        str, typer.Option(help="By how much all copies are enlarged: auto, or a whole number.")
    ] = "1",
    only_flagged_classes: Annotated[
        bool, typer.Option("--only-flagged-classes", help="No empty folders for the other classes.")
    ] = False,
    again: Annotated[
        str | None,
        typer.Option(
            metavar="VERDICTS",
            help="A second opinion on what was decided: correct, relabel, expunge, unsure (with commas between) or all; or"
            " disputed, to decide it.",
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="With --again: only so many of these, at random.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Copies the next batch of suspects into a review tree. Beside it: before.txt and manifest.json."""
    from dupekit.workflow.selection import Selection

    selection = Selection(
        limit,
        everything,
        audit,
        [word.strip() for word in (again or "").split(",")] if again is not None else (),
        sample,
    )
    style = Style(order, _factor(enlarge), only_flagged_classes)
    opened = open_project(project)
    with progress_bars() as progress:
        made = opened.export(dest, selection, style, progress=progress)
    drawn = sum(file.stratum is not None for file in made.manifest.files)
    if json:
        print_json({"tree": made.tree, "manifest": made.manifest, "waiting": made.waiting})
        return
    _say(made, drawn)


def _factor(enlarge: str) -> int | None:
    if enlarge == "auto":
        return None
    try:
        return int(enlarge)
    except ValueError:
        raise typer.BadParameter(
            f"{enlarge!r} is neither auto nor a whole number.", param_hint="--enlarge"
        ) from None


def _say(made: Exported, drawn: int) -> None:
    of_audit = f", {drawn:,} of them drawn for the audit" if drawn else ""
    factor = f" Copies are enlarged {made.manifest.enlarged} times." if made.manifest.enlarged > 1 else ""
    tree = shlex.quote(escape(str(made.tree)))
    waits = "waits" if made.waiting == 1 else "wait"
    waiting = (
        f"{counted(made.waiting, 'suspect')} more {waits} for the next export.\n" if made.waiting else ""
    )
    say(
        f"{counted(len(made.manifest.files), 'image')} to review in {made.tree}{of_audit}.{factor}\n"
        "In each class folder: delete what is labelled right, or move it to _right; move what belongs elsewhere to its"
        " class's folder, to _expunge (drop it) or to _unsure; leave what is wrong as suggested. Then move the folder to"
        " _done: what nobody finished decides nothing.\n"
        f"{waiting}With the browser: dupekit review {tree}\nNext: dupekit collect {tree} (or, meanwhile, dupekit watch {tree})"
    )
