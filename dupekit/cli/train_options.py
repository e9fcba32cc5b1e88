"""The options of `dupekit train` that say what a round is: one name each, so that the command's signature stays a list of names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli.completion import (
    complete_device,
    complete_executor,
    complete_setting,
    complete_split,
    complete_trainer,
    complete_validator,
)

Pairs = Annotated[int | None, typer.Option(min=1, max=99, help="Pairs of trainings; default 10.")]
Stage = Annotated[
    int | None,
    typer.Option(
        min=1, max=2, help="2: the second half of the pairs trusts each label as far as the first half did."
    ),
]
UntilStable = Annotated[
    bool,
    typer.Option(
        "--until-stable", help="Stop when a further pair hardly changes the list; --pairs is the most."
    ),
]
Trainer = Annotated[
    str | None, typer.Option(help="See `dupekit plugins list`.", autocompletion=complete_trainer)
]
Validator = Annotated[str | None, typer.Option(help="Likewise.", autocompletion=complete_validator)]
Executor = Annotated[
    str | None, typer.Option(help="Where the trainings run.", autocompletion=complete_executor)
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N", autocompletion=complete_device)]
Seed = Annotated[int | None, typer.Option(min=0, help="Everything random follows from it.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the trainer; validator.KEY and executor.KEY for those.",
        autocompletion=complete_setting,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="redraw (new halves for each pair) or fixed", autocompletion=complete_split),
]
ClassMin = Annotated[
    int | None, typer.Option(min=2, help="Classes with fewer different images are not assessed.")
]
ClassMax = Annotated[
    int | None, typer.Option(min=1, help="Train on so many images of a class at most; default all.")
]
ClassConfig = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="A table of classes to train as one, or to leave out: a row a class, columns class and new name.",
    ),
]
ClassColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which column of it has the new names.")
]
