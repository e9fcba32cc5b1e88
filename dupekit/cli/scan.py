"""`dupekit scan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    counted,
    open_project,
    print_json,
    say,
    warn,
)
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import FIRST, names, numbers, table, texts

if TYPE_CHECKING:
    from dupekit.workflow.scan import Scan


def scan(
    every: Annotated[
        bool, typer.Option("--all", help="Read every file, also where size and time are as before.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Brings the ledger up to date with the dataset. Reads only what is new or changed."""
    opened = open_project(project)
    with progress_bars() as progress:
        found = opened.scan(every=every, progress=progress)
    if json:
        print_json(found)
    else:
        show_scan(found, compared=every)


def show_scan(found: Scan, *, compared: bool = False) -> None:
    """`compared`: known files were read again, so that none with another content is news, too."""
    table(
        "Classes", [names("class"), numbers("images")], [(size.name, size.images) for size in found.classes]
    )
    if found.problems:
        table(
            "Images left out",
            [names("image"), texts("problem")],
            [(one.path, one.problem) for one in found.problems],
            most=FIRST,
        )
    if found.skipped:
        table(
            "Not part of the dataset",
            [names("path"), texts("why")],
            [(one.path, one.reason) for one in found.skipped],
            most=FIRST,
        )
    for alike in found.twins:
        warn(
            f"These classes look alike: {', '.join(alike)}. If they are one, put their images together and scan again."
        )
    if found.one_colour:
        title = "Nothing can be seen: every pixel has one colour. No model can judge these"
        table(title, [names("image")], [(path,) for path in found.one_colour], most=FIRST)
    if found.other_files:
        rows = [(other.label, other.extension or "(none)", other.count) for other in found.other_files]
        table(
            "Files that are no images, by their extension",
            [names("class"), texts("extension"), numbers("files")],
            rows,
        )
    if found.not_assessable:
        small = [(size.name, size.different) for size in found.not_assessable]
        table(
            "Not assessable: too few different images to be split",
            [names("class"), numbers("different images")],
            small,
        )
    changed = (
        f" {found.changed:,} of them with another content than before," if compared or found.changed else ""
    )
    others = sum(other.count for other in found.other_files)
    say(
        f"{counted(found.images, 'image')} in {len(found.classes)} classes; {counted(found.read, 'file')} read,{changed}"
        f" {found.gone:,} gone, {len(found.problems):,} left out, {counted(others, 'other file')} passed over."
    )
