"""Flag, export, collect: what goes out to the technician, and what is recorded when it comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dupekit.errors import NothingToDo, TreeUnavailable, UsageError
from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute, new_place
from dupekit.files.write import write_lines
from dupekit.ledger import Ledger, images, review, rounds, tallies
from dupekit.review.listing import require_marker
from dupekit.review.manifest import refuse_inside_tree
from dupekit.review.marker import read_marker
from dupekit.review.mistakes import Earlier, Evidence, overturned, slips, unusable
from dupekit.review.questions import Question, refused
from dupekit.review.survey import survey
from dupekit.review.verdicts import EXPUNGED, Verdict, review_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import default_threshold
from dupekit.settings import Settings
from dupekit.system.progress import Progress, silent
from dupekit.system.stamp import now, user
from dupekit.workflow.exports import forget, keep, listing_of, manifest_of, mend, name_latest
from dupekit.workflow.results import Collected, Exported, Flagged
from dupekit.workflow.runs import RoundFolder

_CLOSED = (
    "Round {} has ended: what was labelled right goes on the ignore list, but labels are not changed any more."
    " What is wrong can be flagged again in the next round."
)


def flag(
    ledger: Ledger,
    project: Path,
    settings: Settings,
    *,
    threshold: int | None = None,
    limit: int | None = None,
) -> Flagged:
    """As `Project.flag`."""
    current = rounds.current(ledger)
    pairs = RoundFolder(project, current.number).update_tallies(ledger, silent)
    if not pairs:
        raise NothingToDo(f"No pair of round {current.number} is complete yet.", hint="Run `dupekit train`.")
    least = threshold or settings.threshold or default_threshold(current.pairs)
    if least > current.pairs:
        raise UsageError(
            f"A threshold of {least} votes cannot be reached: the round has {current.pairs} pairs.",
            hint=f"Name a threshold from 1 to {current.pairs}, or train more pairs.",
        )
    dupes = tallies.dupes(ledger, current.number, threshold=least)[:limit]
    tallies.record_flags(ledger, current.number, dupes, threshold=least)
    return Flagged(
        round=current.number,
        pairs=pairs,
        pairs_planned=current.pairs,
        threshold=least,
        dupes=dupes,
        ignored=tallies.ignored(ledger, current.number, threshold=least),
        outdated=tallies.outdated(ledger, current.number),
    )


def export(
    ledger: Ledger, project: Path, dataset: Path, settings: Settings, tree: Path | None, *, progress: Progress
) -> Exported:
    """As `Project.export`."""
    current = rounds.current(ledger)
    # After a training that was killed, votes are still to be counted, and an older flagging is void.
    pairs = RoundFolder(project, current.number).update_tallies(ledger, silent)
    if rounds.current(ledger).threshold is None:
        flag(ledger, project, settings)
    dupes = tallies.flagged(ledger, current.number)
    if not dupes:
        raise NothingToDo(
            "No image is flagged, so there is nothing to review.",
            hint="Lower the threshold with `dupekit flag --threshold`, or be glad.",
        )
    folder = RoundFolder(project, current.number).path
    tree = new_place(tree) if tree else folder / "dupes"
    _refuse_inside(dataset, tree)
    refuse_inside_tree(tree)
    manifest = plan_tree(
        dupes,
        [name for name, _, _ in images.class_sizes(ledger)],
        round_number=current.number,
        pairs=pairs,
        created=now(),
    )
    try:
        manifest = write_tree(
            manifest, dataset, tree, ready=lambda written: keep(folder, written), progress=progress
        )
    except BaseException:
        forget(folder, manifest)
        raise
    numbers = {dupe.path: dupe.image for dupe in dupes}
    review.record_export(
        ledger,
        round_number=current.number,
        key=manifest.export,
        tree=escape(str(tree)),
        files={file.path: numbers[file.original] for file in manifest.files},
    )
    name_latest(ledger, project, current.number)
    return Exported(current.number, tree, manifest)


def collect(
    ledger: Ledger,
    project: Path,
    tree: Path | None,
    *,
    who: str,
    confirm: Callable[[list[Question]], bool] | None,
) -> Collected:
    """As `Project.collect`."""
    export, path = find_tree(ledger, tree)
    mended = mend(ledger, project, export, path)
    manifest = manifest_of(ledger, project, export, path)
    brought = read_marker(path, manifest)
    reviewed = review_tree(path, manifest)
    surveyed = survey(path)
    decided = review.earlier(ledger, export)
    carried = path.resolve() != Path(unescape(export.tree)).resolve()

    def check(changed: list[Verdict]) -> None:
        asked = slips(Evidence(manifest, reviewed, changed, surveyed, decided, carried, brought.seen))
        if asked and not (confirm and confirm(asked)):
            raise refused(asked)

    changed = review.record_verdicts(
        ledger, export, reviewed.verdicts, who=who or user(), tree=escape(str(path)), check=check
    )
    remaining = [v.now_at for v in reviewed.verdicts if v.now_at]
    write_lines(listing_of(ledger, project, export, "after.txt"), remaining)
    events = review.pick_up_events(ledger, export.number, brought.events)
    overruled = review.overruled(ledger, export, reviewed.verdicts)
    closed = rounds.get(ledger, export.round).closed is not None
    uncounted = {verdict.file.path for verdict, _, _ in overruled}
    counting = [v for v in reviewed.verdicts if v.file.path not in uncounted]
    return Collected(
        round=export.round,
        tree=path,
        review=reviewed,
        changed=changed,
        overruled=[verdict for verdict, _, _ in overruled],
        closed=closed,
        too_late=_too_late(ledger, export, counting) if closed else [],
        events=events,
        remarks=[
            *mended,
            *brought.remarks,
            *_say_unusable(unusable(reviewed, manifest)),
            *_say_overruled(overruled),
            *_say_overturned(overturned(changed, decided)),
            *([_CLOSED.format(export.round)] if closed else []),
        ],
    )


def _too_late(ledger: Ledger, export: review.Export, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Of verdicts of a round that has ended, those that are otherwise than what was applied."""
    made = review.applied(ledger, export.round)

    def as_applied(v: Verdict) -> bool:
        label = "" if v.verdict == EXPUNGED else v.label
        return made.get((v.file.digest, v.file.given), v.file.given) == label

    return [v for v in verdicts if not as_applied(v)]


def find_tree(ledger: Ledger, tree: Path | None) -> tuple[review.Export, Path]:
    """As `Project.tree`."""
    if tree is None:
        current = rounds.current(ledger)
        found = review.exports(ledger, current.number)
        if not found:
            raise NothingToDo(f"Round {current.number} has no review tree yet.", hint="Run `dupekit export`.")
        return found[-1], Path(unescape(found[-1].tree))
    path = absolute(tree)
    require_marker(path)
    key = tree_manifest(path).export
    export = review.export_by_key(ledger, key)
    if export is None:
        raise TreeUnavailable(
            f"{path} was exported by another project (export {key[:8]}).",
            hint="Name the project it belongs to with -p.",
        )
    return export, path


def _refuse_inside(dataset: Path, path: Path) -> None:
    if path.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(
            f"{path} lies inside the dataset, which dupekit never writes to.",
            hint="Name a folder elsewhere.",
        )


def _say_overruled(overruled: Sequence[tuple[Verdict, str, str]]) -> list[str]:
    if not overruled:
        return []
    _, tree, at = max(overruled, key=lambda one: one[2])
    count = len(overruled)
    return [
        f"{count} {'verdicts of this tree do' if count > 1 else 'verdict of this tree does'} not count: of an image"
        f" the latest decision does, and {tree}, collected on {at}, says otherwise. Only what has changed in a tree"
        " since it was collected is a new decision. `dupekit undo` takes the last collect back."
    ]


def _say_overturned(found: Sequence[tuple[Verdict, Earlier]]) -> list[str]:
    if not found:
        return []
    count = len(found)
    trees = " and ".join(dict.fromkeys(decision.tree for _, decision in found))
    return [
        f"{count} earlier {'decisions' if count > 1 else 'decision'}, made in {trees},"
        f" {'are' if count > 1 else 'is'} overturned: of an image the latest decision counts. `dupekit undo` takes"
        " this collect back."
    ]


def _say_unusable(folders: Mapping[str, int]) -> list[str]:
    return [
        f'No class can be called "{folder}": what lies in that folder ({count} {"image" if count == 1 else "images"})'
        " is read as unsure. Rename it in the tree, and collect again."
        for folder, count in folders.items()
    ]
