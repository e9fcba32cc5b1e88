"""`dupekit apply`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    counted,
    fields,
    open_project,
    print_json,
    say,
    unapplied_counts,
    warn,
)
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import FIRST, names, numbers, table, texts

if TYPE_CHECKING:
    from dupekit.workflow.apply import Applied
    from dupekit.workflow.apply_patch import Patched


class ModeChoice(StrEnum):
    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"
    reflink = "reflink"


def apply(
    dest: Annotated[Path, typer.Argument(help="Where to write the corrected dataset; must not exist.")],
    mode: Annotated[ModeChoice, typer.Option(help="How each file gets there.")] = ModeChoice.copy,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    patch: Annotated[
        Path | None, typer.Option(help="Apply this patch.csv, without a project; needs --dataset.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="With --patch: the copy of the dataset to correct; it is only read.")
    ] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="With --patch: turn a corrected dataset back.")
    ] = False,
    original: Annotated[
        Path | None, typer.Option(help="With --reverse: the dataset that supplies expunged files.")
    ] = None,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="With --patch: take links in the dataset for files.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Writes the corrected dataset, and patch.csv. The original is not touched.

    Killed or interrupted, run it again: it goes on where it stopped."""
    from dupekit.errors import UsageError

    if (patch is None) != (dataset is None) or (patch is None and (reverse or original or follow_symlinks)):
        raise UsageError(
            "--patch and --dataset belong together, and --reverse, --original and --follow-symlinks to them.",
            hint="As in: dupekit apply DEST --patch patch.csv --dataset COPY",
        )
    if original and not reverse:
        raise UsageError("--original serves --reverse only.", hint="Leave it out, or add --reverse.")
    if patch is None or dataset is None:
        opened = open_project(project)
        with progress_bars() as progress:
            done = opened.apply(dest, mode=mode.value, dry_run=dry_run, progress=progress)
        _show_applied(done, json=json, dry_run=dry_run)
        if not json and not dry_run:
            say(str(opened.advice()))
        return
    from dupekit.workflow.apply_patch import apply_patch

    with progress_bars() as progress:
        patched = apply_patch(
            patch,
            dataset,
            dest,
            reverse=reverse,
            original=original,
            mode=mode.value,
            dry_run=dry_run,
            follow_symlinks=follow_symlinks,
            progress=progress,
        )
    _show_patched(patched, json=json, dry_run=dry_run, reverse=reverse)


def _show_applied(done: Applied, *, json: bool, dry_run: bool) -> None:
    if any(one.pending for one in done.unapplied):
        warn(
            f"{unapplied_counts(done.unapplied)}: the dataset is not what was decided on any more. Their images are in the"
            " corrected dataset, if at all, under the label that they have now."
        )
    if json:
        print_json({**fields(done), "expunged": [c.path for c in done.expunged]})
        return
    if done.unread:
        table(
            "Not in it, because they could not be read",
            [names("image")],
            [(path,) for path in done.unread],
            most=FIRST,
        )
    expunged = done.expunged
    if dry_run:
        changes = [(c.path, c.new_label) for c in done.corrections if c.new_label]
        table("Would be relabelled", [names("image"), names("new label")], changes, most=FIRST)
    if expunged:
        title = "Would be expunged" if dry_run else "Expunged"
        table(title, [names("image"), numbers("votes")], [(c.path, c.votes) for c in expunged], most=FIRST)
    _show_by_content(done)
    counts = f"{len(done.corrections) - len(expunged)} relabelled, {len(expunged)} expunged."
    still = ""
    if done.open:
        still = f" {counted(done.open, 'image')} {'is' if done.open == 1 else 'are'} still open, and keep{'s' if done.open == 1 else ''} the label."
    if dry_run:
        say(
            f"{counted(done.files, 'image')} would be in {done.destination}: {counts}{still} Nothing was written."
        )
        return
    say(f"{counted(done.files, 'image')} in {done.destination}: {counts}{still}\nWhat changed: {done.patch}")


def _show_by_content(done: Applied) -> None:
    """What cannot be told from the list of what was reviewed."""
    renamed = [(c.path, c.decided_on) for c in done.corrections if c.path != c.decided_on]
    if renamed:
        table(
            "Known by content: renamed since, or a copy",
            [names("image"), names("decided on")],
            renamed,
            most=FIRST,
        )
    if done.unapplied:
        rows = [(one.path, one.new_label or "(expunge)", str(one)) for one in done.unapplied]
        table(
            "Decided, but not applied", [names("image"), names("new label"), texts("why")], rows, most=FIRST
        )


def _show_patched(done: Patched, *, json: bool, dry_run: bool, reverse: bool) -> None:
    if json:
        print_json(done)
        return
    if done.skipped:
        table(
            "Not in it",
            [names("path"), texts("why")],
            [(one.path, one.reason) for one in done.skipped],
            most=FIRST,
        )
    expunged = [(row.path,) for row in done.rows if not row.new_path]
    if expunged:
        table("Brought back" if reverse else "Expunged", [names("image")], expunged, most=FIRST)
    moved = f"{len(done.rows) - len(expunged)} {'turned back' if reverse else 'relabelled'}"
    counts = f"{moved}, {len(expunged)} {'brought back' if reverse else 'expunged'}."
    if dry_run:
        say(f"{counted(done.files, 'image')} would be in {done.destination}: {counts} Nothing was written.")
    else:
        say(f"{counted(done.files, 'image')} in {done.destination}: {counts}")
