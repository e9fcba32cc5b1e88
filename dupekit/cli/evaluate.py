"""`dupekit evaluate`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli import train_options as options
from dupekit.cli.completion import complete_trainer
from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say, warn
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import FIRST, names, numbers, shares, table, texts
from dupekit.cli.terminal import Tone
from dupekit.cli.train import parse_options
from dupekit.rounds.in_words import accuracy_in_words, points, probability

if TYPE_CHECKING:
    from dupekit.jobs.evaluation import Evaluation
    from dupekit.rounds.comparison import Compared

CLASSES = 10
"""Rows of classes."""


def evaluate(
    test: Annotated[
        Path | None,
        typer.Option(
            help="Test images, a sub-folder a class, in place of some of the dataset's that nobody disputed."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=5, max=99, help="Trainings before, and as many after the correction.")
    ] = 5,
    trainer: Annotated[
        str | None,
        typer.Option(help="Default: the round's, with its options.", autocompletion=complete_trainer),
    ] = None,
    executor: options.Executor = None,
    device: options.Device = None,
    setting: options.Set = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Shows whether the last correction helped.

    It trains before and after it, with the same seeds, and tests both on the same images, which no training sees.
    Killed or interrupted, run it again: it goes on where it stopped."""
    from dupekit.workflow.plan import Choices

    choices = Choices(
        trainer=trainer,
        executor=executor,
        device=device,
        options=parse_options(setting) if setting else None,
    )
    opened = open_project(project)
    with progress_bars() as progress:
        try:
            found = opened.evaluate(choices, test=test, seeds=seeds, progress=progress)
        except KeyboardInterrupt:
            warn("Interrupted; finished trainings are kept. The same command goes on from there.", tone=None)
            raise typer.Exit(130) from None
    if json:
        print_json(found)
    else:
        show_evaluation(found)


def show_evaluation(found: Evaluation) -> None:
    tested = f"{counted(found.tested, 'image')} " + (
        "whose label nobody disputed, each by models that did not see it"
        if found.test is None
        else f"in {found.test}, which no model saw"
    )
    say(
        f"Round {found.round}, {found.trainer.name}: {found.seeds} trainings on {found.images_before:,} images before the correction, and"
        f" {found.seeds} on {found.images_after:,} after it; {found.relabelled:,} relabelled, {found.expunged:,} expunged.\n"
        f"Tested on {tested}.\n"
    )
    if found.left_out:
        _show_left_out(found)
    table(
        "Before and after, in %",
        [
            texts("measure"), numbers("before"), numbers("after"), numbers("change"), numbers("95 % interval"),
            numbers("p images"), numbers("p seeds"),
        ],
        [(str(measure), *_row(one)) for measure, one in found.measures.items()],
    )  # fmt: skip
    _show_classes(found)
    for warning in found.warnings:
        say(f"- {warning}", tone=Tone.WARNING)
    if found.warnings:
        say("")
    _conclude(found)


def _row(one: Compared) -> tuple[str, ...]:
    return (
        _spread(one.before, one.before_by_seed),
        _spread(one.after, one.after_by_seed),
        points(one.difference),
        f"{points(one.low)} to {points(one.high)}",
        probability(one.p_images),
        probability(one.p_seeds),
    )


def _spread(value: float, by_seed: list[float]) -> str:
    """As in "93.2 ±0.3", with the standard deviation over the seeds."""
    return f"{100 * value:.1f} ±{100 * stdev(by_seed):.1f}"


def _show_classes(found: Evaluation) -> None:
    tested = [one for one in found.classes if one.tested]
    table(
        "Recall of the classes, those that moved most first",
        [
            names("class"), numbers("tested"), numbers("images before"), numbers("images after"),
            shares("recall before"), shares("recall after"), numbers("change"),
        ],
        [
            (one.name, one.tested, one.images_before, one.images_after, one.recall_before, one.recall_after,
             points(one.moved))
            for one in tested
        ],
        most=CLASSES,
    )  # fmt: skip


def _show_left_out(found: Evaluation) -> None:
    reasons = Counter(one.reason for one in found.left_out)
    example = {one.reason: one.path for one in reversed(found.left_out)}
    table(
        "Files of the test folder that test nothing",
        [texts("why"), numbers("files"), names("for example")],
        [(reason, count, example[reason]) for reason, count in reasons.most_common()],
        most=FIRST,
    )


def _conclude(found: Evaluation) -> None:
    from dupekit.rounds.comparison import Measure

    accuracy = found.measures[Measure.ACCURACY]
    tone = None
    if accuracy.sure:
        tone = Tone.GOOD if accuracy.difference > 0 else Tone.BAD
    say(accuracy_in_words(accuracy), tone=tone)
