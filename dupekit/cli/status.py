"""`dupekit status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.agreement import show_agreement
from dupekit.cli.output import JsonOption, ProjectOption, open_project, print_json, unapplied_counts
from dupekit.cli.tables import names, numbers, shares, table, texts

if TYPE_CHECKING:
    from dupekit.workflow.status import Status

TOP = 10
"""Class pairs in the table; --json has all."""


def status(
    classes: Annotated[
        bool, typer.Option("--classes", help="Only how far the models agree with the labels of each class.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Where the project stands, and how the rounds converge."""
    from dupekit.ledger.rounds import RunState

    opened = open_project(project)
    if classes:
        show_agreement(opened.agreement(), json=json)
        return
    found = opened.status()
    if json:
        print_json(found)
        return
    current = found.round
    done = sum(run.state is RunState.DONE for run in found.runs)
    failed = sum(run.state is RunState.FAILED for run in found.runs)
    rows: list[tuple[str, object]] = [
        ("dataset", found.dataset),
        ("images", f"{found.images} in {found.classes} classes, {found.problems} left out"),
        ("round", f"{current.number}{' (closed)' if current.closed else ''}" if current else "none yet"),
        ("runs", f"{done} of {len(found.runs)} done, {failed} failed"),
        ("complete pairs", f"{found.pairs_done} of {current.pairs if current else 0}"),
        (
            "flagged",
            f"{found.suspects}",
        ),
        *[("review tree", export.tree) for export in found.exports],
        ("verdicts", ", ".join(f"{n} {verdict}" for verdict, n in sorted(found.verdicts.items())) or "none"),
        *_unapplied(found),
        ("ignore list", found.ignored),
        *[("corrected dataset", f"{one.destination} ({one.mode}, {one.at})") for one in found.applications],
    ]
    table("Project", [texts("what"), texts("state")], rows)
    _show_convergence(found)


def _unapplied(found: Status) -> list[tuple[str, object]]:
    if not any(one.pending for one in found.unapplied):
        return []
    return [("of these", f"{unapplied_counts(found.unapplied)}: `dupekit apply` lists them")]


def _show_convergence(found: Status) -> None:
    if found.rounds:
        columns = [numbers("round"), numbers("images"), numbers("pairs"), texts("rule"), numbers("suspects"),
                   numbers("reviewed"), numbers("accepted"), shares("share"), numbers("ignored so far")]  # fmt: skip
        rows = [
            (r.round, r.images, r.pairs, r.rule.name, r.suspects, r.reviewed, r.accepted, r.share, r.ignored)
            for r in found.rounds
        ]
        table("Rounds (accepted: relabelled or expunged)", columns, rows)
    if found.acceptance is None:
        return
    by_votes, by_pair = found.acceptance.by_votes, found.acceptance.by_pair
    of_round = f"accepted in round {found.acceptance.round}"
    counts = [numbers("reviewed"), numbers("accepted"), shares("share")]
    table(
        f"By votes, {of_round}",
        [numbers("votes"), *counts],
        [(v.votes, v.reviewed, v.accepted, v.share) for v in by_votes],
    )
    more = f", the first {TOP} of {len(by_pair)}" if len(by_pair) > TOP else ""
    table(
        f"By class pair, {of_round}{more}",
        [names("given"), names("suggested"), *counts],
        [(p.given, p.suggested, p.reviewed, p.accepted, p.share) for p in by_pair[:TOP]],
    )
