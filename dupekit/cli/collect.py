"""`dupekit collect`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from dupekit.cli.completion import complete_class, complete_tree
from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    counted,
    open_project,
    print_json,
    say,
    told,
    warn,
)
from dupekit.cli.tables import FIRST, names, numbers, table

if TYPE_CHECKING:
    from dupekit.review.questions import Question
    from dupekit.workflow.collect import Collected, Finished

T = TypeVar("T")
_ALL = "all"
_REST = "--all shows them."


def collect(
    tree: Annotated[
        Path | None,
        typer.Argument(help="The review tree; default the one that is out.", autocompletion=complete_tree),
    ] = None,
    project: ProjectOption = None,
    finished: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            autocompletion=complete_class,
            help="A class that was looked at in full: what lies there is wrong. Can be repeated; all: every class.",
        ),
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who decided; default the system's user.")] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Ask nothing: folders deleted or moved, and the like, are meant so. What is open stays open.",
        ),
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Show every row of the tables.")] = False,
    json: JsonOption = False,
) -> None:
    """Records the verdicts: what has changed in the tree."""
    asks = sys.stdin.isatty() and not yes
    opened = open_project(project)
    found = opened.collect(
        tree,
        who=who,
        finished=_finished(finished) if finished else _ask_finished if asks else (),
        confirm=(lambda _: True) if yes else _confirm if asks else None,
    )
    for remark in found.remarks:
        warn(remark)
    if json:
        print_json(_document(found))
        return
    _show(found, whole=show_all)
    if not found.open and not found.closed:
        say(str(opened.advice()))


def _document(found: Collected) -> dict[str, object]:
    rows = [
        {"path": v.file.original, "given": v.file.given, "verdict": v.verdict, "label": v.label}
        for v in found.review.verdicts
    ]
    return {
        "verdicts": rows,
        "open": [v.file.original for v in found.open],
        "finished": found.finished,
        "changed": len(found.changed),
        "overruled": [v.file.original for v in found.overruled],
        "too_late": [v.file.original for v in found.too_late],
        "strangers": found.review.strangers,
        "events": found.events,
        "remarks": found.remarks,
    }


def _show(found: Collected, *, whole: bool) -> None:
    from dupekit.review.verdicts import Verdict

    overruled = {v.file.path for v in found.overruled}
    counting = [v for v in found.review.verdicts if v.file.path not in overruled]
    if found.closed:
        labels: Counter[tuple[str, ...]] = Counter(
            (v.file.given, "(expunge)" if v.verdict is Verdict.EXPUNGE else v.label) for v in found.too_late
        )
        _table("Otherwise than applied, but not changed any more", ["given", "decided"], labels, whole=whole)
    else:
        changes: Counter[tuple[str, ...]] = Counter(
            (v.file.given, v.label) for v in counting if v.verdict is Verdict.RELABEL
        )
        _table("Will change", ["given", "new label"], changes, whole=whole)
    if strangers := [(path,) for path in found.review.strangers]:
        title = "Not exported, left alone"
        table(title, [names("file")], strangers, whole=whole, most=None if whole else FIRST, rest=_REST)
    still: dict[tuple[str, ...], int] = {
        (label,): count for label, count in found.review.open_by_class().items()
    }
    _table("Open: nothing decided", ["class"], still, whole=whole)
    say(_sentence(found, Counter(v.verdict for v in counting), len(overruled)))


def _table(title: str, headings: list[str], counts: Mapping[tuple[str, ...], int], *, whole: bool) -> None:
    """The largest counts first; nothing where there are none."""
    if counts:
        rows = [(*row, count) for row, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
        columns = [*map(names, headings), numbers("images")]
        table(title, columns, rows, whole=whole, most=None if whole else FIRST, rest=_REST)


def _sentence(found: Collected, counts: Counter[str], overruled: int) -> str:
    """What was decided, and what is next."""
    from dupekit.review.verdicts import Verdict

    images = len(found.review.verdicts)
    still = len(found.open)
    if still == images and not found.changed:
        return (
            f"Nothing was recorded: {counted(images, 'image')} {'lies' if images == 1 else 'lie'} as exported in {found.tree}, and nothing is"
            f" said to be finished. {_NEXT_OPEN}"
        )
    decided = images - still
    taken_back = sum(v.verdict is Verdict.OPEN for v in found.changed)
    text = (
        f"{decided} of {counted(images, 'image')} decided in {found.tree}: {counts[Verdict.CORRECT]} labelled right (on the ignore list"
        f" now), {counts[Verdict.RELABEL]} to relabel, {counts[Verdict.EXPUNGE]} to expunge, {counts[Verdict.UNSURE]} unsure"
        f"{f', {overruled} decided otherwise by a later collect' if overruled else ''};"
        f" {counted(len(found.changed) - taken_back, 'verdict')} new or changed{f', {taken_back} taken back' if taken_back else ''}."
    )
    if found.closed or not still:
        return text
    return f"{text} {still} {'is' if still == 1 else 'are'} open. {_NEXT_OPEN}"


_NEXT_OPEN = "Next: go on with the review and collect again. Finished folders go to _done, or are named with --finished CLASS."


def _finished(named: list[str]) -> Finished:
    """What `--finished` says. "all" is every class; a class that is called so is "all/", as every folder may be written."""

    def chosen(_: Path, open_classes: Mapping[str, int]) -> Collection[str]:
        if _ALL in named:
            return list(open_classes)
        return [name.rstrip("/") for name in named]

    return chosen


def _ask_finished(tree: Path, open_classes: Mapping[str, int]) -> Collection[str]:
    """Asks until every answer can be understood; Return and the end of the input mean none."""
    if not open_classes:
        return ()
    labels = list(open_classes)
    # Where a class is called "7", a 7 is its name.
    by_number = {str(number): label for number, label in enumerate(labels, 1)}
    if any(label in by_number for label in labels):
        by_number = {}
    warn(
        f"{tree}: {counted(sum(open_classes.values()), 'image')} untouched. Were these folders finished, so that what is left"
        " is wrong?",
        tone=None,
    )
    for number, label in enumerate(labels, 1):
        warn(f"  {f'{number}. ' if by_number else ''}{label} ({open_classes[label]})", tone=None)
    while True:
        answer = _answered(_which, "none").strip()
        if answer in (_ALL, "none"):
            return labels if answer == _ALL else ()
        names = [answer] if answer in labels else [name.strip().rstrip("/") for name in answer.split(",")]
        chosen = [by_number.get(name, name) for name in names]
        unknown = [name for name in chosen if name not in labels]
        if not unknown:
            return chosen
        warn(f"None of these is called {unknown[0]}.")


def _which() -> str:
    text = "all, none, or which, with commas"
    answer: str = typer.prompt(text, default="none", err=True)
    return answer


def _confirm(asked: list[Question]) -> bool:
    """One after the other. Raises NotConfirmed at the first that is not meant, Exit at Ctrl-C."""
    from dupekit.review.questions import refused

    for number, question in enumerate(asked, 1):
        text = "\n".join(told(str(question), sys.stderr, margin=len(" [y/N]: ")))
        ask = partial(typer.confirm, text, default=False, err=True)
        if not _answered(ask, False):
            raise refused([question], not_asked=len(asked) - number)
    return True


def _answered(ask: Callable[[], T], silence: T) -> T:
    """The answer, or at Ctrl-D what silence means. Raises Exit at Ctrl-C."""
    try:
        return ask()
    except typer.Abort as error:
        if isinstance(error.__context__, EOFError):
            return silence
        warn("\nInterrupted. Nothing was recorded.", tone=None)
        raise typer.Exit(130) from None
