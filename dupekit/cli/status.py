"""`dupekit status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.agreement import show_agreement
from dupekit.cli.found import by_rank, show_by_rank
from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    clock,
    counted,
    open_project,
    print_json,
    say,
    unapplied_counts,
)
from dupekit.cli.tables import Sentence, names, numbers, shares, table, texts
from dupekit.rounds.in_words import accuracy_in_words, in_words, percent, stability_in_words

if TYPE_CHECKING:
    from dupekit.jobs.evaluation import Evaluation
    from dupekit.ledger.opinions import Opinion
    from dupekit.ledger.rounds import Round
    from dupekit.rounds.rules import Rule
    from dupekit.workflow.status import Status
    from dupekit.workflow.submitted import Submitted

DISPUTED = 3
"""Rows of disputed images."""
PAIRS = 50
"""Rows of class pairs with `--all`."""
ROUNDS = 3
"""Rows of rounds, the last ones."""
TREES = 2
"""Rows of trees that are out."""


def status(
    classes: Annotated[
        bool, typer.Option("--classes", help="Only how far the models agree with the labels of each class.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Also by rank, votes and class pair; all rounds, classes, trees, disputed images."
        ),
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Where the project stands, and what is next."""
    opened = open_project(project)
    if classes:
        show_agreement(opened.agreement(), everything=everything, json=json)
        return
    found = opened.status()
    if json:
        print_json(found)
        return
    rows = list(_rows(found, everything=everything))
    table("Project", [texts("what"), names("state")], rows, whole=everything)
    _show_rounds(found, everything=everything)
    _show_second_opinions(found, everything=everything)
    if everything:
        if found.submitted:
            table("Submitted", [texts("run"), texts("state")], list(found.submitted.runs.items()), whole=True)
        _show_acceptance(found)
        if found.found:
            show_by_rank(found.found)
    if found.found:
        say(in_words(found.found))
        if line := by_rank(found.found):
            say(line)
    if any(one.pending for one in found.unapplied):
        say(f"{unapplied_counts(found.unapplied)}: `dupekit apply` lists them.")
    say(str(found.next))


def _rows(found: Status, *, everything: bool) -> Iterator[tuple[str, str | Sentence]]:
    """What there is to say, and no more."""
    yield "dataset", found.dataset
    yield "images", Sentence(_images(found))
    if found.round:
        yield "round", Sentence(_round(found, found.round))
    if found.submitted:
        yield "submitted", Sentence(_submitted(found.submitted))
    if found.round and found.round.stability:
        yield "list", Sentence(stability_in_words(found.round.stability))
    if found.rule and found.pairs_done:
        yield "suspects", Sentence(_suspects(found, found.rule))
    waited_for = [one for one in found.out if one.open]
    shown = len(waited_for) if everything else TREES
    for one in waited_for[:shown]:
        yield "tree out", f"{one.open:,} of {one.images:,} open: {one.place}"
    if waited_for[shown:]:
        yield "", f"and {counted(len(waited_for) - shown, 'more tree')}"
    if found.verdicts:
        yield "verdicts", Sentence(_verdicts(found))
    if found.ignored and everything:
        yield "ignore list", counted(found.ignored, "image")
    for application in found.applications if everything else found.applications[-1:]:
        yield "corrected", application.destination
    if found.evaluation:
        yield "evaluated", Sentence(_evaluation(found.evaluation, found.round))


def _evaluation(found: Evaluation, current: Round | None) -> str:
    from dupekit.rounds.comparison import Measure

    said = accuracy_in_words(found.measures[Measure.ACCURACY])
    return said if current and found.round == current.number == 1 else f"Round {found.round}: {said}"


def _images(found: Status) -> str:
    classes = "1 class" if found.classes == 1 else f"{found.classes:,} classes"
    left_out = f" ({found.problems:,} left out)" if found.problems else ""
    return f"{found.images:,} in {classes}{left_out}"


def _round(found: Status, current: Round) -> str:
    from dupekit.ledger.rounds import RunState

    failed = sum(run.state is RunState.FAILED for run in found.runs)
    number = f"{current.number}{', ended' if current.closed else ''}"
    if current.plan.get("imported"):
        return f"{number}: imported, {counted(found.pairs_done, 'prediction')} an image{' at most' if found.pairs_done > 1 else ''}"
    said = f"{number}: {found.pairs_done} of {current.pairs} pairs"
    return f"{said}, {counted(failed, 'run')} failed" if failed else said


def _submitted(found: Submitted) -> str:
    counts = ", ".join(f"{count:,} {state}" for state, count in found.counts.items())
    return f"{counted(len(found.runs), 'run')} to {found.executor}, {clock(found.since)}: {counts}"


def _suspects(found: Status, rule: Rule) -> str:
    from dupekit.rounds.rules import RuleName

    by = f"with {rule.threshold} or more votes" if rule.name is RuleName.VOTES else "with a score above 0"
    waiting = f", {found.waiting:,} of them waiting for review" if found.waiting else ""
    return f"{found.rounds[-1].suspects:,} {by}{waiting}"


def _verdicts(found: Status) -> str:
    words = {"correct": "right", "relabel": "to relabel", "expunge": "to expunge", "unsure": "unsure"}
    said = ", ".join(
        f"{found.verdicts[one]:,} {word}" for one, word in words.items() if one in found.verdicts
    )
    return f"{said} ({len(found.disputed):,} of them disputed)" if found.disputed else said


def _show_rounds(found: Status, *, everything: bool) -> None:
    if len(found.rounds) < 2 and not everything:  # what there is to say of one is said already
        return
    kept = found.rounds if everything else found.rounds[-ROUNDS:]
    table(
        "Rounds" if len(kept) == len(found.rounds) else f"Rounds, the last {ROUNDS}",
        [
            numbers("round"),
            texts("rule"),
            numbers("suspects"),
            numbers("reviewed"),
            numbers("wrong"),
            shares("share"),
        ],
        [(r.round, str(r.rule.name), r.suspects, r.reviewed, r.accepted, r.share) for r in kept],
    )


def _show_second_opinions(found: Status, *, everything: bool) -> None:
    agreed = found.two_people
    if agreed is None:
        return
    if agreed.share is not None:
        kappa = "" if agreed.kappa is None else f", Cohen's kappa {agreed.kappa:.2f}"
        say(
            f"Two people agree on {agreed.agreed:,} of {counted(agreed.images, 'image')} ({percent(agreed.share)}{kappa})."
        )
    busy = len(found.rounds) > 1 or any(one.open for one in found.out)  # then a screen has no room for it
    if found.disputed and (everything or not busy):
        table(
            "Disputed: they count as unsure until decided",
            [names("image"), names("first"), names("second")],
            [(one.path, _said(one.first), _said(one.second)) for one in found.disputed],
            whole=everything,
            most=None if everything else DISPUTED,
            rest="--all shows all.",
        )


def _said(opinion: Opinion) -> str:
    label = f" {opinion.label}" if opinion.verdict == "relabel" else ""
    return f"{opinion.verdict}{label} ({opinion.who})"


def _show_acceptance(found: Status) -> None:
    if found.acceptance is None:
        return
    by_votes, by_pair = found.acceptance.by_votes, found.acceptance.by_pair
    counts = [numbers("reviewed"), numbers("wrong"), shares("share")]
    table(
        f"By votes, round {found.acceptance.round}",
        [numbers("votes"), *counts],
        [(v.votes, v.reviewed, v.accepted, v.share) for v in by_votes],
    )
    table(
        f"By class pair, round {found.acceptance.round}",
        [names("given"), names("suggested"), *counts],
        [(p.given, p.suggested, p.reviewed, p.accepted, p.share) for p in by_pair],
        whole=True,
        most=PAIRS,
    )
