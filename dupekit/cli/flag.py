"""`dupekit flag`."""

from __future__ import annotations

from typing import Annotated

import typer

from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say, warn
from dupekit.cli.tables import names, numbers, table
from dupekit.rounds.rules import RuleName


def flag(
    project: ProjectOption = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="Votes that make a dupe; default 8 of 10 pairs.")
    ] = None,
    rule: Annotated[RuleName | None, typer.Option(help="What makes a suspect.")] = None,
    json: JsonOption = False,
) -> None:
    """The dupes, most suspicious first, and a table per class pair."""
    from dupekit.rounds.rules import by_class_pair

    found = open_project(project).flag(threshold=threshold, rule=rule)
    if found.pairs < found.pairs_planned:
        warn(
            f"Only {found.pairs} of {found.pairs_planned} pairs are complete: no image can have more than"
            f" {found.pairs} votes, and the threshold stays {found.rule.threshold}."
        )
    if found.outdated:
        warn(
            f"{found.outdated} images of the round are gone or changed since it was trained; none is flagged."
        )
    if json:
        dupes = [
            {
                "path": dupe.path,
                "given": dupe.given,
                "suggested": dupe.suggested,
                "votes": dupe.votes,
                "score": dupe.score,
                "probability_given": dupe.probability_given,
                "probability_suggested": dupe.probability_suggested,
            }
            for dupe in found.suspects
        ]
        print_json(
            {
                "round": found.round,
                "pairs": found.pairs,
                "rule": found.rule.name,
                "threshold": found.rule.threshold,
                "dupes": dupes,
            }
        )
        return
    table(
        "Dupes, most suspicious first",
        [
            names("image"),
            names("suggested"),
            numbers("votes"),
            numbers("score"),
            numbers("p(given)"),
            numbers("p(suggested)"),
        ],
        [
            (d.path, d.suggested, d.votes, d.score, d.probability_given, d.probability_suggested)
            for d in found.suspects
        ],
    )
    pairs = [(pair.given, pair.suggested, pair.suspects) for pair in by_class_pair(found.suspects)]
    table("By class pair", [names("given"), names("suggested"), numbers("dupes")], pairs)
    say(
        f"Round {found.round}: {counted(len(found.suspects), 'image')} with at least {found.rule.threshold} of {found.pairs}"
        f" votes; {found.ignored} more are on the ignore list. Next: dupekit export"
    )
