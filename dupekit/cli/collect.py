"""`dupekit collect`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from dupekit.cli._console import JsonOption, ProjectOption, open_project, print_json, say, table, warn


def register(app: typer.Typer) -> None:
    app.command()(collect)


def collect(
    tree: Annotated[
        Path | None, typer.Argument(help="The review tree; default the last one exported.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Compares the review tree with what was exported and records the verdicts."""
    found = open_project(project).collect(tree)
    for remark in found.remarks:
        warn(remark)
    verdicts = found.review.verdicts
    if json:
        rows = [
            {"path": v.file.original, "given": v.file.given, "verdict": v.verdict, "label": v.label}
            for v in verdicts
        ]
        print_json({"verdicts": rows, "changed": len(found.changed), "strangers": found.review.strangers})
        return
    changes = Counter((v.file.given, v.label) for v in verdicts if v.verdict == "relabel")
    table("Will change", ["given", "new label", "#images"], [(*k, n) for k, n in sorted(changes.items())])
    if found.review.strangers:
        table("Not exported, left alone", ["file"], [(path,) for path in found.review.strangers])
    counts = Counter(v.verdict for v in verdicts)
    say(
        f"{len(verdicts)} reviewed images: {counts['correct']} labelled right (on the ignore list now),"
        f" {counts['relabel']} to relabel, {counts['expunge']} to expunge, {counts['unsure']} unsure;"
        f" {len(found.changed)} verdicts are new or changed. Next: dupekit apply DEST"
    )
