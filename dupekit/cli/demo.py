"""`dupekit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.evaluate import show_evaluation
from dupekit.cli.output import JsonOption, print_json, say
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import numbers, table, texts


def demo(
    dir_: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where to play it; default a new temporary folder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Plays the whole loop on real handwritten digits. Errors are planted, and the known truth plays the technician."""
    from dupekit.demo.play import play

    with progress_bars() as progress:
        done = play(dir_, progress=progress, say=(lambda _: None) if json else say)
    if json:
        print_json(done)
        return
    table("Digits: what the loop found", [texts("what"), numbers("result")], done.rows())
    show_evaluation(done.evaluation)
    say(f"\nEverything it made: {done.folder}")
