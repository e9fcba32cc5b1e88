"""`dupekit explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dupekit.cli.completion import complete_image
from dupekit.cli.output import JsonOption, ProjectOption, open_project, print_json, say
from dupekit.cli.tables import Toned, names, numbers, shares, table, texts, times
from dupekit.cli.terminal import Tone
from dupekit.files.names import escape

if TYPE_CHECKING:
    from dupekit.workflow.explain import Explained

FIRST = 8
"""Look-alikes that are shown."""


def explain(
    image: Annotated[
        str,
        typer.Argument(
            help="An image as `dupekit flag` prints it, its file, or its copy in a review tree.",
            autocompletion=complete_image,
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Also as a page, with pictures, that needs no other file."),
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """All that is known of one image. Each pair's prediction, look-alikes with their labels, what was decided."""
    found = open_project(project).explain(image, html=html)
    if json:
        print_json(found)
        return
    say("\n".join(_lines(found)))
    say("")
    _say_predictions(found)
    _say_alike(found)
    _say_past(found)
    if html:
        say(f"The page is {escape(str(html))}.")


def _lines(found: Explained) -> list[str]:
    from dupekit.workflow.explain import models_say, verdict_words

    counted = found.counted
    lines = [found.image.path, f"Now in {found.given}."]
    if found.trained_as:
        lines.append(f"In round {found.round}, {found.trained_as.of(found.given)}")
    if counted:
        label, how_sure = models_say(counted)
        lines += [
            f"The models say {label}: {how_sure}.",
            f"Rank {found.rank:,} of {found.images:,}, 1 is the most suspicious; score {counted.score:.2f}.",
        ]
    lines += [
        f"{found.standing[0].upper()}{found.standing[1:]}. {found.why}",
        f"Verdict: {verdict_words(counted)}.",
    ]
    for tree in found.trees:
        there = "" if tree.there else ", where it does not lie any more"
        lines.append(f"In the review tree {tree.tree}: {tree.path}{there}.")
    return lines


def _say_predictions(found: Explained) -> None:
    if found.predictions:
        table(
            "What each pair says, by its model that never saw the image",
            [
                numbers("pair"),
                texts("half"),
                names("says"),
                shares("sure"),
                shares("for the label"),
                texts(""),
            ],
            [
                (
                    p.pair,
                    p.half,
                    p.predicted,
                    p.probability,
                    p.probability_given,
                    None if p.counted else "not counted yet",
                )
                for p in found.predictions
            ],
        )
    if found.classes:
        table(
            "All pairs together",
            [names("class"), shares("mean"), numbers("votes")],
            [(one.label, one.probability, one.votes or None) for one in found.classes],
        )


def _say_alike(found: Explained) -> None:
    if found.alike:
        rows: list[tuple[Any, ...]] = [
            (
                one.path,
                _marked(one.label, found),
                one.similarity,
                _note(one.label != found.given, one.confirmed),
            )
            for one in found.alike
        ]
        table(
            "Looks most like",
            [names("image"), names("label"), numbers("alike"), texts("")],
            rows,
            most=FIRST,
            rest="--json and --html have all.",
        )
    if found.copies:
        rows = [
            (one.path, _marked(one.label, found), _note(one.label != found.given, False))
            for one in found.copies
        ]
        table("Identical images", [names("image"), names("label"), texts("")], rows)
    if found.near:
        rows = [
            (one.path, _marked(one.label, found), _note(one.label != found.given, False))
            for one in found.near
        ]
        table("Nearly the same", [names("image"), names("label"), texts("")], rows)


def _marked(label: str, found: Explained) -> str | Toned:
    return label if label == found.given else Toned(label, Tone.WARNING)


def _note(other: bool, confirmed: bool) -> str | None:
    said = [*(["another class"] if other else []), *(["confirmed"] if confirmed else [])]
    return ", ".join(said) or None


def _say_past(found: Explained) -> None:
    from dupekit.workflow.explain import decision_words, verdict_words

    if found.earlier:
        columns = [
            numbers("round"),
            names("label"),
            names("models said"),
            numbers("votes"),
            numbers("score"),
            texts("verdict"),
        ]
        rows: list[tuple[Any, ...]] = [
            (one.round, one.given, one.suggested, one.votes, round(one.score, 2), verdict_words(one))
            for one in found.earlier
        ]
        table("Earlier rounds", columns, rows)
    if found.history:
        columns = [numbers("round"), times("when"), texts("who"), texts("from"), texts("to"), times("undone")]
        rows = [
            (c.round, c.at, c.who, c.previous and decision_words(*c.previous.partition(" ")[::2]),
             decision_words(c.verdict, c.label), c.undone)
            for c in found.history
        ]  # fmt: skip
        table("What was decided", columns, rows)
