"""`dupekit scan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    open_project,
    print_json,
    say,
    table,
    warn,
)
from dupekit.cli.progress_bars import progress_bars

if TYPE_CHECKING:
    from dupekit.workflow.scan import Scan


def scan(
    every: Annotated[
        bool, typer.Option("--all", help="Read every file, also where size and time are as before.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Brings the ledger up to date with the dataset; reads only what is new or changed."""
    opened = open_project(project)
    with progress_bars() as progress:
        found = opened.scan(every=every, progress=progress)
    if json:
        print_json(found)
    else:
        show_scan(found, compared=every)


def show_scan(found: Scan, *, compared: bool = False) -> None:
    """`compared`: known files were read again, so that none with another content is news, too."""
    table("Classes", ["class", "#images"], [(size.name, size.images) for size in found.classes])
    if found.problems:
        table("Images left out", ["image", "problem"], [(one.path, one.problem) for one in found.problems])
    if found.skipped:
        table("Not part of the dataset", ["path", "why"], [(one.path, one.reason) for one in found.skipped])
    for names in found.twins:
        warn(
            f"These classes look alike: {', '.join(names)}. If they are one, put their images together and scan again."
        )
    if found.one_colour:
        title = "Nothing can be seen: every pixel has one colour. No model can judge these"
        table(title, ["image"], [(path,) for path in found.one_colour])
    if found.other_files:
        rows = [(other.label, other.extension or "(none)", other.count) for other in found.other_files]
        table("Files that are no images, by their extension", ["class", "extension", "#files"], rows)
    if found.not_assessable:
        small = [(size.name, size.different) for size in found.not_assessable]
        table("Not assessable: too few different images to be split", ["class", "#different images"], small)
    changed = (
        f" {found.changed} of them with another content than before," if compared or found.changed else ""
    )
    say(
        f"{found.images} images in {len(found.classes)} classes; {found.read} files read,{changed} {found.gone} gone,"
        f" {len(found.problems)} left out, {sum(other.count for other in found.other_files)} other files passed over."
    )
