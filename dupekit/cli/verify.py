"""`dupekit verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    counted,
    open_project,
    print_json,
    say,
    unapplied_counts,
)
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import FIRST, Toned, names, table, texts
from dupekit.cli.terminal import Tone


def verify(
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sizes and times only; read no image again.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Looks whether anything is damaged. Changes nothing.

    Compares the ledger, the files of the rounds, the dataset and the last corrected dataset.
    Exit code 1 where something differs."""
    opened = open_project(project)
    with progress_bars() as progress:
        found = opened.verify(quick=quick, progress=progress)
    if json:
        print_json(found)
    elif found.differences:
        table(
            "What differs",
            [texts("what"), names("where"), texts("how")],
            [(Toned(d.what, Tone.BAD), d.where, d.how) for d in found.differences],
            most=FIRST,
        )
        if any(d.what == "dataset" for d in found.differences):
            say(
                "Where the dataset was meant to change: dupekit scan, or, where size and time are as they were,"
                " dupekit scan --all."
            )
        if any(d.where.endswith("/images.npz") for d in found.differences):
            say("Delete images.npz where it is wrong: `dupekit train` writes it anew from the ledger.")
        if any("/runs/" in d.where for d in found.differences if d.what == "round"):
            say(
                "In a round that is open, delete the folder of a damaged run: `dupekit train` repeats that run alone. What was imported,"
                " restore from a backup."
            )
    else:
        counts = ", ".join(
            counted(count, what.removesuffix("s")) for what, count in found.checked.items() if count
        )
        depth = "sizes and times only" if quick else "contents read"
        pending = sum(one.pending for one in found.unapplied)
        left = f" {unapplied_counts(found.unapplied)}: `dupekit apply` lists them." if pending else ""
        clear = "Nothing is damaged" if pending else "All is as it should be"
        say(f"{clear}: the ledger, {counts} ({depth}).{left}", tone=Tone.WARNING if pending else Tone.GOOD)
    if found.differences:
        raise typer.Exit(1)
