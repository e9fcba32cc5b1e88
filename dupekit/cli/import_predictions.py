"""`dupekit import-predictions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say, warn
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import names, numbers, table
from dupekit.rounds.in_words import percent

if TYPE_CHECKING:
    from dupekit.workflow.import_predictions import ImportedPredictions


FILES = 20
"""Rows of files: there may be one for each of thousands of bins."""


def import_predictions(
    files: Annotated[
        list[Path], typer.Argument(help=".npz, .npy, .csv, or results of ifcb_classifier: .json, .mat, .h5.")
    ],
    paths: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Of .npy: a text file with an image's path a line.")
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Likewise, with a class a line, in the order of the columns."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what fits: images missing on either side are left out.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Takes predictions made elsewhere as a round.

    They are probabilities, and each must come from a model that did not see the image in its training. Files may hold different
    images, or the same ones: then an image has several predictions."""
    opened = open_project(project)
    with progress_bars() as progress:
        done = opened.import_predictions(
            files, paths=paths, classes=classes, partial=partial, progress=progress
        )
    if json:
        print_json(done)
    else:
        _show(done)
        say(str(opened.advice()))


def _show(done: ImportedPredictions) -> None:
    rows = [
        (one.name, f"{one.taken:,} of {one.predictions:,}", percent(one.agreement, 1)) for one in done.files
    ]
    table("Imported", [names("file"), numbers("images matched"), numbers("agreement")], rows[:FILES])
    if rows[FILES:]:
        say(f"and {counted(len(rows) - FILES, 'more file')}.")
    left_out = [
        counted(done.missing, "image") + " of the dataset in no file" if done.missing else "",
        counted(sum(one.unknown for one in done.files), "prediction")
        + " of images that the dataset does not have"
        if any(one.unknown for one in done.files)
        else "",
        counted(sum(one.other_class for one in done.files), "prediction")
        + " of classes that the file has no column for"
        if any(one.other_class for one in done.files)
        else "",
    ]
    if any(left_out):
        say(f"Left out: {'; '.join(filter(None, left_out))}.")
    uneven = done.images * done.pairs > sum(one.taken for one in done.files)
    say(
        f"Round {done.round}: {counted(done.images, 'image')} in {done.classes} classes,"
        f" {counted(done.pairs, 'prediction')} an image{' at most' if uneven else ''};"
        f" they agree with {percent(done.agreement, 1)} of the given labels."
    )
    _warn(done)


def _warn(done: ImportedPredictions) -> None:
    if done.too_good:
        best = max((one for one in done.files if one.too_good), key=lambda one: one.agreement, default=None)
        who = f"{best.name} agrees" if best else "The predictions agree"
        warn(
            f"{who} with {percent(best.agreement if best else done.agreement, 1)} of the given labels, which is more than models do that"
            " never saw the images. Were they in the training? Then it repeats their labels, wrong ones too, and hardly any error is"
            " found. Train on one part of the images, predict the other, and swap."
        )
    elif done.near_chance:
        warn(
            f"The predictions agree with {percent(done.agreement, 1)} of the given labels, where naming the largest class every time"
            f" would agree with {percent(done.chance, 1)}. Do the classes, or the images, stand in another order than the numbers?"
        )
