"""`dupekit export-results`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say
from dupekit.cli.progress_bars import progress_bars
from dupekit.files.names import escape


def export_results(
    out: Annotated[
        Path,
        typer.Argument(
            help="The file: .csv, .jsonl, .parquet, .npz for cleanlab, samples.json for FiftyOne."
        ),
    ],
    wanted: Annotated[
        str | None,
        typer.Option(
            "--format", help="csv, jsonl, parquet, cleanlab or fiftyone; else by the file's ending."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Takes the place of a file of that name.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Writes what the last round knows of each image.

    Votes, score, probabilities, verdict and the label after review, most suspicious first. A training may go on meanwhile."""
    with progress_bars() as progress:
        written = open_project(project).export_results(
            out, wanted=wanted, overwrite=overwrite, progress=progress
        )
    if json:
        print_json(written)
    else:
        say(f"{escape(str(written.file))}: {counted(written.images, 'image')} of round {written.round}.")
