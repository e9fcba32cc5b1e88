"""`dupekit flag`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dupekit.cli.charts import bar
from dupekit.cli.output import JsonOption, ProjectOption, counted, open_project, print_json, say, warn
from dupekit.cli.tables import FIRST, names, numbers, table, texts
from dupekit.errors import UsageError
from dupekit.rounds.rules import Rule, RuleName

if TYPE_CHECKING:
    from dupekit.workflow.flag import Flagged

PAIRS = 10
"""Class pairs that are."""
BARS = 5
"""Lines of the histogram of votes, at most."""


def flag(
    project: ProjectOption = None,
    rule: Annotated[
        RuleName | None,
        typer.Option(
            help="Sets what makes a suspect: a score above 0, or so many votes for one wrong class."
        ),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option(min=1, help="Sets the rule votes, with so many votes; by default 8 of 10 pairs."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help=f"Suspects to show; default {FIRST}.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show all of them, and all class pairs.")] = False,
    json: JsonOption = False,
) -> None:
    """Shows the suspects, most suspicious first. Sets the round's rule if told one; else it changes nothing."""
    if everything and top:
        raise UsageError(
            "`--top` shows some of the suspects, and `--all` every one.", hint="Name one of the two only."
        )
    opened = open_project(project)
    found = opened.flag(threshold=threshold, rule=rule)
    _warn(found)
    if json:
        print_json(_document(found))
        return
    _show(found, top=None if everything else top or FIRST, asked=top is not None)
    contradicted = sum(one.contradicted for one in found.suspects)
    if contradicted:
        say(
            f"{counted(contradicted, 'image')} at the top: an identical image lies in another class, which is the one suggested."
            " One of the two labels is wrong; you decide which."
        )
    say(f"{_closing(found)} {opened.advice()!s}")


def _warn(found: Flagged) -> None:
    if found.pairs < found.pairs_planned:
        threshold = (
            f", and the threshold stays {found.rule.threshold}" if found.rule.name is RuleName.VOTES else ""
        )
        warn(
            f"Only {found.pairs} of {found.pairs_planned} pairs are complete: no image can have more than"
            f" {found.pairs} votes{threshold}."
        )
    if found.outdated:
        warn(
            f"{found.outdated} images of the round are gone or changed since it was trained; none is flagged."
        )


def _document(found: Flagged) -> dict[str, Any]:
    dupes = [
        {
            "path": one.path,
            "given": one.given,
            "suggested": one.suggested,
            "votes": one.votes,
            "score": one.score,
            "probability_given": one.probability_given,
            "probability_suggested": one.probability_suggested,
            "contradicted": one.contradicted,
        }
        for one in found.suspects
    ]
    return {
        "round": found.round,
        "pairs": found.pairs,
        "rule": found.rule.name,
        "threshold": found.rule.threshold if found.rule.name is RuleName.VOTES else None,
        "dupes": dupes,
    }


def _show(found: Flagged, *, top: int | None, asked: bool) -> None:
    from dupekit.rounds.class_view import seen_as
    from dupekit.rounds.rules import by_class_pair

    everything = top is None
    table(
        "Most suspicious",
        [names("image"), names("suggested"), numbers("votes"), numbers("score")],
        [(one.path, one.suggested, one.votes, one.score) for one in found.suspects],
        whole=everything,
        most=top,
        asked=asked,
        rest="--all shows all of them, with whole names.",
    )
    table("By votes", [texts("votes"), numbers("suspects"), texts("")], _histogram(found))
    pairs = [pair for pair in by_class_pair(found.suspects) if everything or pair.suspects > 1]
    table(
        "By class pair" if everything else "By class pair, with at least 2",
        [names("given"), names("suggested"), numbers("suspects")],
        [(pair.given, pair.suggested, pair.suspects) for pair in pairs],
        whole=everything,
        most=None if everything else PAIRS,
        rest="--all shows all of them.",
    )
    seen = {label: seen_as(found.view, label) for label in sorted({one.suggested for one in found.suspects})}
    if rows := [(label, ", ".join(one.others)) for label, one in seen.items() if one and one.others]:
        table("Trained as one class: it may be another of them", [names("suggested"), texts("others")], rows)


def _histogram(found: Flagged) -> list[tuple[str, int, str]]:
    """Most votes first; numbers of votes are taken together where they are many."""
    counts = Counter(one.votes for one in found.suspects)
    width = -(-found.pairs // BARS)
    rows = []
    for high in range(found.pairs, 0, -width):
        low = max(high - width + 1, 1)
        images = sum(counts[votes] for votes in range(low, high + 1))
        rows.append((f"{low}-{high}" if low < high else f"{high}", images))
    if counts[0]:
        rows.append(("0", counts[0]))
    most = max(images for _, images in rows)
    return [(votes, images, bar(images, top=most)) for votes, images in rows]


def _closing(found: Flagged) -> str:
    ignored = (
        f"; {found.ignored:,} more {'is' if found.ignored == 1 else 'are'} on the ignore list"
        if found.ignored
        else ""
    )
    return (
        f"Round {found.round}: {counted(len(found.suspects), 'suspect')} {_words(found.rule, found)};"
        f" {_words(found.rule.other, found)} there would be {found.by_other_rule:,}{ignored}."
    )


def _words(rule: Rule, found: Flagged) -> str:
    if rule.name is RuleName.SCORE:
        return "by score (above 0)"
    return f"by votes ({rule.threshold} of {found.pairs_planned} for one wrong class)"
