"""`dupekit undo`."""

from __future__ import annotations

from dupekit.cli.output import JsonOption, ProjectOption, clock, counted, open_project, print_json, say


def undo(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Takes back the last collect, apply or `next`. Run again to go further back."""
    opened = open_project(project)
    step = opened.undo()
    if json:
        print_json(step)
        return
    if step.what == "next":
        say(
            f"Took back the end of round {step.round} on {clock(step.at)}: the round is open again, on {opened.dataset}, which was"
            " scanned. Trees, verdicts and corrected datasets are as they were."
        )
    elif step.what == "collect":
        say(
            f"Took back {counted(step.count, 'verdict')} collected on {clock(step.at)} by {step.who} from"
            f" {step.place} (round {step.round}). Verdicts and ignore list are as they were before. No file on disk was touched; `dupekit collect` records what"
            " the tree says again."
        )
    else:
        by = f" by {step.who}" if step.who else ""
        say(
            f"Took back the record of {counted(step.count, 'correction')} applied on {clock(step.at)}{by} (round {step.round}). No file on disk was touched:"
            f" the corrected dataset still lies in {step.place}, and `dupekit next` no longer goes on with it."
        )
    say(str(opened.advice()))
