"""`dupekit status`."""

from __future__ import annotations

import typer

from dupekit.cli._console import JsonOption, ProjectOption, open_project, print_json, table


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Where the project stands: round, runs done, flags, verdicts."""
    found = open_project(project).status()
    if json:
        print_json(found)
        return
    current = found.round
    done = sum(run.state == "done" for run in found.runs)
    failed = sum(run.state == "failed" for run in found.runs)
    rows: list[tuple[str, object]] = [
        ("dataset", found.dataset),
        ("images", f"{found.images} in {found.classes} classes, {found.problems} left out"),
        ("round", f"{current.number}{' (closed)' if current.closed else ''}" if current else "none yet"),
        ("runs", f"{done} of {len(found.runs)} done, {failed} failed"),
        ("complete pairs", f"{found.pairs_done} of {current.pairs if current else 0}"),
        (
            "flagged",
            f"{found.flags}" + (f" (threshold {current.threshold})" if current and current.threshold else ""),
        ),
        *[("review tree", export.tree) for export in found.exports],
        ("verdicts", ", ".join(f"{n} {verdict}" for verdict, n in sorted(found.verdicts.items())) or "none"),
        ("ignore list", found.ignored),
        *[("corrected dataset", f"{place} ({mode}, {at})") for place, mode, at in found.applications],
    ]
    table("Project", ["what", "state"], rows)
