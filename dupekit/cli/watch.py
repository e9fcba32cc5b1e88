"""`dupekit watch`."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dupekit.cli._console import ProjectOption, open_project, say

if TYPE_CHECKING:
    from dupekit.manifest import Manifest
    from dupekit.watch import Journal, Snapshot


def register(app: typer.Typer) -> None:
    app.command()(watch)


def watch(
    tree: Annotated[
        Path | None, typer.Argument(help="The review tree; default the last one exported.")
    ] = None,
    project: ProjectOption = None,
    poll: Annotated[
        float | None, typer.Option(min=0.5, metavar="SECONDS", help="Look at least this often.")
    ] = None,
) -> None:
    """Follows a technician live; after.txt is always current. Stop with Ctrl-C."""
    from dupekit.watch import follow

    path, manifest, journal = _what_to_watch(tree, project)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    snapshots = follow(path, manifest, journal, stop=stop, poll_s=poll)
    if not sys.stdout.isatty():
        for snapshot in snapshots:
            say(_line(snapshot))
            sys.stdout.flush()
        return
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        for snapshot in snapshots:
            live.update(_table(path, manifest, snapshot), refresh=True)


def _what_to_watch(tree: Path | None, project: Path | None) -> tuple[Path, Manifest, Journal]:
    """A tree of the project, or, where there is no project, one that came from elsewhere."""
    from dupekit.errors import NotAProject, TreeUnavailable
    from dupekit.review import list_tree, tree_manifest
    from dupekit.watch import Journal, tree_journal

    try:
        opened = open_project(project)
        export, path = opened.tree(tree)
    except (NotAProject, TreeUnavailable):
        if tree is None or project is not None:
            raise
        path = tree.absolute()
        list_tree(path)
        return path, tree_manifest(path), tree_journal(path)
    after = opened.listing_of(export, "after.txt")
    return path, opened.manifest_of(export), Journal(after, lambda e: opened.record_events(export, e))


def _line(snapshot: Snapshot) -> str:
    from dupekit.files import now

    if snapshot.review is None:
        return f"{now()} not available: {snapshot.trouble}"
    counts = Counter(v.verdict for v in snapshot.review.verdicts)
    parts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
    end = " (stopped; after.txt is current)" if snapshot.last else ""
    trouble = f"; {snapshot.trouble}" if snapshot.trouble else ""
    return f"{now()} {parts}; {len(snapshot.review.strangers)} other files{trouble}{end}"


def _table(path: Path, manifest: Manifest, snapshot: Snapshot) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{len(manifest.files)} images to review in {path}", style="bold")
    shown = Table(box=SIMPLE_HEAD)
    shown.add_column("class")
    for name in ("exported", "deleted", "moved", "left"):
        shown.add_column(name, justify="right")
    if snapshot.review is None:
        return Group(title, Text(f"Not available: {snapshot.trouble} Nothing is taken as deleted."))
    by_class: dict[str, Counter[str]] = {}
    for verdict in snapshot.review.verdicts:
        top = verdict.now_at.partition("/")[0]
        moved = verdict.now_at and top != verdict.file.path.partition("/")[0]
        state = "deleted" if not verdict.now_at else "moved" if moved else "left"
        by_class.setdefault(verdict.file.given, Counter())[state] += 1
    total: Counter[str] = Counter()
    for label, counts in sorted(by_class.items()):
        total += counts
        shown.add_row(Text(label), *_counts(counts))
    shown.add_section()
    shown.add_row("all", *_counts(total))
    strangers = len(snapshot.review.strangers)
    notes = [f"{strangers} other files." if strangers else "", snapshot.trouble, "Stop with Ctrl-C."]
    return Group(title, shown, Text(" ".join(note for note in notes if note)))


def _counts(counts: Counter[str]) -> list[str]:
    return [str(counts.total()), str(counts["deleted"]), str(counts["moved"]), str(counts["left"])]
