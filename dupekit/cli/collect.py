"""`dupekit collect`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.completion import complete_tree
from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    counted,
    open_project,
    print_json,
    say,
    warn,
)
from dupekit.cli.tables import names, numbers, table
from dupekit.files.names import printable

if TYPE_CHECKING:
    from dupekit.review.questions import Question
    from dupekit.workflow.collect import Collected


def collect(
    tree: Annotated[
        Path | None,
        typer.Argument(help="The review tree; default the last one exported.", autocompletion=complete_tree),
    ] = None,
    project: ProjectOption = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Ask nothing: folders deleted or moved, and the like, are meant so."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Records the verdicts: compares the tree with what was exported."""
    from dupekit.review.verdicts import Verdict

    found = open_project(project).collect(tree, confirm=_confirm(yes))
    for remark in found.remarks:
        warn(remark)
    verdicts = found.review.verdicts
    if json:
        rows = [
            {"path": v.file.original, "given": v.file.given, "verdict": v.verdict, "label": v.label}
            for v in verdicts
        ]
        print_json(
            {
                "verdicts": rows,
                "changed": len(found.changed),
                "overruled": [v.file.original for v in found.overruled],
                "too_late": [v.file.original for v in found.too_late],
                "strangers": found.review.strangers,
                "events": found.events,
                "remarks": found.remarks,
            }
        )
        return
    overruled = {v.file.path for v in found.overruled}
    counting = [v for v in verdicts if v.file.path not in overruled]
    if found.closed:
        _show_too_late(found)
    else:
        changes = Counter((v.file.given, v.label) for v in counting if v.verdict == Verdict.RELABEL)
        table(
            "Will change",
            [names("given"), names("new label"), numbers("images")],
            [(*k, n) for k, n in sorted(changes.items())],
        )
    if found.review.strangers:
        table("Not exported, left alone", [names("file")], [(path,) for path in found.review.strangers])
    counts = Counter(v.verdict for v in counting)
    elsewhere = f", {len(overruled)} decided otherwise by a later collect" if overruled else ""
    say(
        f"{counted(len(verdicts), 'reviewed image')}: {counts[Verdict.CORRECT]} labelled right (on the ignore list now),"
        f" {counts[Verdict.RELABEL]} to relabel, {counts[Verdict.EXPUNGE]} to expunge, {counts[Verdict.UNSURE]} unsure{elsewhere};"
        f" {counted(len(found.changed), 'verdict')} new or changed."
        + ("" if found.closed else " Next: dupekit apply DEST")
    )


def _show_too_late(found: Collected) -> None:
    from dupekit.review.verdicts import Verdict

    labels = Counter(
        (v.file.given, "(expunge)" if v.verdict == Verdict.EXPUNGE else v.label) for v in found.too_late
    )
    if labels:
        rows = [(*k, n) for k, n in sorted(labels.items())]
        table(
            "Otherwise than applied, but not changed any more",
            [names("given"), names("decided"), numbers("images")],
            rows,
        )


def _confirm(yes: bool) -> Callable[[list[Question]], bool] | None:
    """How to ask: not at all, at the terminal, or, where there is none, nobody."""
    if yes:
        return lambda _: True
    if not sys.stdin.isatty():
        return None
    return _ask


def _ask(asked: list[Question]) -> bool:
    """One after the other. Raises NotConfirmed at the first that is not meant, Exit at Ctrl-C."""
    from dupekit.review.questions import refused

    for number, question in enumerate(asked, 1):
        try:
            meant = typer.confirm(printable(str(question)), default=False, err=True)
        except typer.Abort as error:
            if isinstance(error.__context__, EOFError):  # Ctrl-D: no answer, so not confirmed
                meant = False
            else:
                warn("\nInterrupted. Nothing was recorded.", tone=None)
                raise typer.Exit(130) from None
        if not meant:
            raise refused([question], not_asked=len(asked) - number)
    return True
