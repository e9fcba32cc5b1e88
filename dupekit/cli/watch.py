"""`dupekit watch`."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dupekit.cli.completion import complete_tree
from dupekit.cli.output import ProjectOption, say
from dupekit.cli.tables import LEAST
from dupekit.cli.terminal import shortened
from dupekit.cli.trees import what_to_follow
from dupekit.files.names import printable

if TYPE_CHECKING:
    from rich.live import Live

    from dupekit.review.watch.pace import Count, Headway
    from dupekit.review.watch.watcher import Snapshot


def watch(
    tree: Annotated[
        Path | None,
        typer.Argument(help="The review tree; default the one that is out.", autocompletion=complete_tree),
    ] = None,
    project: ProjectOption = None,
    poll: Annotated[
        float | None, typer.Option(min=0.5, metavar="SECONDS", help="Look at least this often.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print only start, trouble, recovery, completion and end.")
    ] = False,
) -> None:
    """Follows a technician live; after.txt is current. Stop with Ctrl-C."""
    from dupekit.review.watch.watcher import follow

    # A ledger that another program has locked is waited for in SQLite, where Python hears of no Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        followed = what_to_follow(tree, project, "watch")
    finally:
        signal.signal(signal.SIGINT, before)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    path = followed.tree
    seen = _with_headway(follow(path, followed.manifest, followed.kept_in, stop=stop, poll_s=poll))
    kept = _log(path, seen, quiet=quiet) if quiet or not sys.stdout.isatty() else _show(path, seen)
    if not kept:
        raise typer.Exit(1)  # what was last said says why


Seen = Iterator[tuple["Snapshot", "Headway | None", str]]
"""The last: when something was done last, by the clock on the wall."""


def _with_headway(snapshots: Iterator[Snapshot]) -> Seen:
    from dupekit.review.watch.pace import headway

    reached: Headway | None = None
    clock = ""
    for snapshot in snapshots:
        if snapshot.review is not None:
            before, reached = reached, headway(reached, snapshot.review, snapshot.at_s)
            if before is not None and before.review.places() != reached.review.places():
                clock = time.strftime("%H:%M")
        yield snapshot, reached, clock


def _log(path: Path, seen: Seen, *, quiet: bool) -> bool:
    """A line for every change, or in quiet mode only for what matters; whether after.txt is current."""
    from dupekit.system.stamp import now

    trouble, before, kept = None, None, False
    asked: set[str] = set()
    for snapshot, reached, _ in seen:
        lines = []
        if before is None and reached is not None:
            lines.append(f"watching {path}: {summary(reached)}")
        elif reached is not None and not quiet and reached.all != (before and before.all):
            lines.append(f"{summary(reached)}; {reached.action}")
        if snapshot.trouble != trouble:
            lines.append(f"trouble: {_trouble(snapshot)}" if snapshot.trouble else "recovered")
        lines += [f"question: {guess}" for guess in _guesses(snapshot) if guess not in asked]
        asked.update(_guesses(snapshot))
        if reached is not None and not reached.all.open and (before is None or before.all.open):
            lines.append("everything is done: it can be collected")
        if snapshot.last:
            kept = snapshot.kept or snapshot.beside
            lines.append(_stopped(snapshot))
        for line in lines:
            say(f"{now()} {line}")
        trouble, before = snapshot.trouble, reached or before
    return kept


def _show(path: Path, seen: Seen) -> bool:
    """A table that is always current, and fits the terminal; whether after.txt is, at the end."""
    from rich.live import Live

    kept = False
    with Live(auto_refresh=False) as live:
        screen = _Redrawn(live, path)
        with _on_resize(screen.draw):
            for screen.shows in seen:
                snapshot, *_ = screen.shows
                screen.draw()
                kept = snapshot.kept or snapshot.beside
    return kept


class _Redrawn:
    """What a terminal shows, drawn anew whenever `draw` is called: also by a signal, while it is drawing."""

    def __init__(self, live: Live, path: Path) -> None:
        self.live, self.path = live, path
        self.shows: tuple[Snapshot, Headway | None, str] | None = None
        self.due = self.drawing = False

    def draw(self) -> None:
        self.due = True
        while self.due and not self.drawing and self.shows is not None:
            self.due, self.drawing = False, True
            try:
                room = None if self.shows[0].last else self.live.console.height
                self.live.update(_screen(self.path, *self.shows, room, self.live.console.width), refresh=True)
            finally:
                self.drawing = False


@contextlib.contextmanager
def _on_resize(draw: Callable[[], None]) -> Iterator[None]:
    """Draws anew when the terminal's size changes, where the system tells. Nothing wakes up for it in between."""
    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: draw())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def summary(reached: Headway) -> str:
    """One line: the whole, and the pace."""
    every = reached.all
    return (
        f"{every.reviewed} of {every.exported} reviewed ({every.done} done, {every.right} right, {every.expunge} expunge,"
        f" {every.unsure} unsure), {every.open} open{_pace(reached)}"
    )


def _pace(reached: Headway) -> str:
    if reached.per_hour is None or reached.left_s is None:
        return ""
    minutes = round(reached.left_s / 60)
    return f"; {reached.per_hour:.0f} an hour, {minutes // 60} h {minutes % 60:02d} min left"


def _trouble(snapshot: Snapshot) -> str:
    trouble = snapshot.trouble or ""
    return trouble if snapshot.review else f"{trouble} Nothing is taken as deleted."


def _guesses(snapshot: Snapshot) -> list[str]:
    return [f"{new} is a new class. Did you mean {near}?" for new, near in snapshot.misspelt.items()]


def _stopped(snapshot: Snapshot) -> str:
    if snapshot.beside:
        return "stopped; another watcher or review page goes on, and keeps after.txt"
    return "stopped; after.txt is current" if snapshot.kept else "stopped; after.txt is NOT current"


def _screen(
    path: Path, snapshot: Snapshot, reached: Headway | None, clock: str, height: int | None, width: int
) -> Any:
    """What matters for all classes stands above the table, which a long list of classes would push off the screen."""
    from rich.console import Group
    from rich.text import Text

    head = [Text(printable(str(path)), style="bold")]
    if reached is not None:
        before = "" if snapshot.review else "When last seen: "
        head.append(Text(printable(f"{before}{summary(reached)}.")))
        if reached.action:
            head.append(Text(printable(f"Last, at {clock}: {reached.action}.")))
        if not reached.all.open and snapshot.review:
            head.append(Text("Everything is done: it can be collected.", style="bold green"))
    if snapshot.review is None or snapshot.trouble:
        head.append(Text(printable(_trouble(snapshot))))
    head += [Text(printable(guess)) for guess in _guesses(snapshot)]
    if snapshot.review is not None and (others := len(snapshot.review.strangers)):
        head.append(Text(f"{others} other {'file' if others == 1 else 'files'}."))
    # A short line at the end: after a full one the "^C" that a terminal shows would take a line of its own.
    end = Text(_stopped(snapshot) if snapshot.last else "Stop with Ctrl-C.")
    if snapshot.review is None or reached is None:
        return Group(*head, end)
    # Besides: a blank line, headings, a rule, a blank line, the sum, a blank line, the end, and two for lines that wrap.
    room = None if height is None else max(3, height - len(head) - 9)
    return Group(*head, _table(reached, room, width), end)


_COLUMNS = ("done", "right", "expunge", "unsure", "open")


def _table(reached: Headway, room: int | None, width: int) -> Any:
    """A row a class: first the one in work, then others that were begun, those to be done, and those that are done. Where there
    is no room for all, the last are summed up."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from dupekit.review.watch.pace import total

    shown = Table(box=SIMPLE_HEAD)
    shown.add_column("class", no_wrap=True)
    for name in _COLUMNS:
        shown.add_column(name, justify="right", no_wrap=True)
    numbers = sum(max(map(len, pair)) for pair in zip(_COLUMNS, _cells(reached.all), strict=True))
    for_class = max(LEAST, width - numbers - 3 * len(_COLUMNS) - 4)  # between and beside the columns
    counts = reached.by_class
    by_need = sorted(
        counts,
        key=lambda label: (label != reached.in_work, not counts[label].open, not counts[label].reviewed),
    )
    most = len(counts) if room is None or len(counts) <= room else room - 1
    for label in by_need[:most]:
        shown.add_row(Text(shortened(printable(label), for_class)), *_cells(counts[label]))
    if others := by_need[most:]:
        shown.add_row(
            Text(f"… {len(others)} more classes"), *_cells(total(counts[label] for label in others))
        )
    shown.add_section()
    shown.add_row("all", *_cells(reached.all))
    return shown


def _cells(count: Count) -> list[str]:
    return [str(getattr(count, name)) for name in _COLUMNS]
