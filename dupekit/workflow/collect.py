"""Collect: what was done in a review tree is read and recorded as verdicts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dupekit.errors import NothingToDo, TreeUnavailable, UsageError
from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute
from dupekit.files.write import write_lines
from dupekit.ledger import Ledger, applications, exports, rounds, verdicts
from dupekit.ledger.exports import Export
from dupekit.ledger.verdicts import Elsewhere, Overruled
from dupekit.review.event_log import EVENTS, pick_up_events
from dupekit.review.evidence import Evidence
from dupekit.review.listing import require_marker
from dupekit.review.manifest import MARKER, Manifest, export_key
from dupekit.review.marker import Brought, read_marker
from dupekit.review.mistakes import slips
from dupekit.review.places import Places
from dupekit.review.questions import Question, refused
from dupekit.review.verdicts import (
    FileVerdict,
    Reading,
    Review,
    Unreadable,
    Verdict,
    in_one_spelling,
    read_tree,
    tree_manifest,
    unreadable_places,
)
from dupekit.review.verdicts import finished as with_finished
from dupekit.rounds.in_words import counted
from dupekit.system.stamp import user
from dupekit.workflow.exports import is_cut_off, manifest_of, mend
from dupekit.workflow.session import Session
from dupekit.workflow.trees_out import only_open

_CLOSED = (
    "Round {} has ended: what was labelled right goes on the ignore list, but labels are not changed any more."
    " What is wrong can be flagged again in the next round."
)
_WITHDRAWN = "This tree was called back. What was done in it counts, but what is open in it may lie in another tree by now."


@dataclass(frozen=True, slots=True)
class Collected:
    round: int
    tree: Path
    review: Review
    changed: list[FileVerdict]
    """The verdicts that differ from what was recorded of this tree before."""
    finished: list[str]
    """The classes that somebody said are finished, now or before."""
    overruled: list[FileVerdict]
    """Those that do not count, for a later collect of another tree decided otherwise."""
    closed: bool
    """Whether the round has ended, so that its labels are not applied any more."""
    too_late: list[FileVerdict]
    """Where the round has ended: those that are otherwise than what was applied."""
    events: int
    """New ones in the tree's own event log."""
    remarks: list[str]
    """For the person who collects: what is odd about the tree, and what does not count. Decides nothing."""

    @property
    def open(self) -> list[FileVerdict]:
        """What nothing was decided on."""
        return self.review.open


class ReviewTree(NamedTuple):
    """A tree, and the export that it is of."""

    export: Export
    path: Path


Confirm = Callable[[list[Question]], bool]
"""Is asked what looks like a slip; True: it is meant."""
Finished = Callable[[Path, Mapping[str, int]], Collection[str]]
"""Is told the tree, the classes that have open images, and how many; returns those that are finished."""


def all_finished(_: Path, open_classes: Mapping[str, int]) -> Collection[str]:
    """What lies untouched was looked at everywhere, and is wrong."""
    return list(open_classes)


def collect(
    session: Session,
    tree: Path | None,
    *,
    who: str | None,
    finished: Collection[str] | Finished = (),
    confirm: Confirm | None,
) -> Collected:
    """Compares a review tree, default the one that is out, with its manifest; records the verdicts.

    It may be called as often as one likes, also while the technician is at work. What lies untouched is open and decides
    nothing, except in the classes that are `finished`: their labels, or their folders in the tree. That is remembered. Events
    that a watcher wrote into the tree itself are picked up.

    Where what changed since the last time looks like a slip, as when whole folders were deleted or moved, `confirm` is asked;
    without it, or if it says no, NotConfirmed is raised and nothing is recorded. Raises UsageError where the tree has no class
    of a name in `finished`; TreeUnavailable where the tree cannot be read in full, is not of this project, or, at the default
    place, of another export.
    """
    ledger = session.ledger
    read = _read(session, tree, finished)
    export, review = read.export, read.review
    before = verdicts.elsewhere(ledger, export)

    def check(changed: list[FileVerdict]) -> None:
        recorded = verdicts.recorded(ledger, export)
        listing, seen = read.reading.listing, read.brought.seen
        asked = slips(
            Evidence(read.manifest, listing, review, changed, recorded, read.known, read.carried, seen)
        )
        if asked and not (confirm and confirm(asked)):
            raise refused(asked)

    changed = verdicts.record(
        ledger,
        export,
        review.verdicts,
        who=who or user(),
        tree=escape(str(read.path)),
        finished=read.newly_finished,
        check=check,
    )
    of_round = session.folder(export.round)
    folder = of_round.export(export.key)
    # A watcher may write into the export's folder, too, so that no half of a file is cleared away there.
    write_lines(folder / "after.txt", review.places(), by_way_of=of_round.path)
    events = pick_up_events(folder / EVENTS, read.brought.events)
    overruled = verdicts.overruled(ledger, export, review.verdicts)
    uncounted = {one.verdict.file.path for one in overruled}
    closed = rounds.get(ledger, export.round).closed is not None
    return Collected(
        round=export.round,
        tree=read.path,
        review=review,
        changed=changed,
        finished=sorted(read.finished_before | read.newly_finished),
        overruled=[one.verdict for one in overruled],
        closed=closed,
        too_late=_too_late(ledger, export, review, changed, uncounted) if closed else [],
        events=events,
        remarks=[
            *read.remarks(),
            *_say_overruled(overruled),
            *_say_overturned(changed, uncounted, before),
            *([_WITHDRAWN] if export.withdrawn else []),
            *([_CLOSED.format(export.round)] if closed else []),
        ],
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What a tree says, before it is recorded."""

    export: Export
    path: Path
    mended: list[str]
    """What had to be done about the manifest, in words."""
    manifest: Manifest
    brought: Brought
    reading: Reading
    as_typed: Review
    """With what is finished."""
    review: Review
    """... and new classes in one spelling."""
    known: list[str]
    """Labels that were decided in other trees."""
    finished_before: frozenset[str]
    newly_finished: frozenset[str]
    carried: bool
    """Whether it lies at another place than the one it was exported to."""

    def remarks(self) -> list[str]:
        return [
            *self.mended,
            *self.brought.remarks,
            *_say_unreadable(unreadable_places(self.review, self.manifest)),
            *_say_empty(self.reading),
            *_say_alike(self.as_typed, self.review),
        ]


def _read(session: Session, tree: Path | None, finished: Collection[str] | Finished) -> _Read:
    ledger = session.ledger
    export, path = find_tree(session, tree)
    _require_there(path)
    mended = mend(session, export, path)
    manifest = manifest_of(session, export, path)
    brought = read_marker(path, manifest)
    reading = read_tree(path, manifest)
    before = verdicts.finished(ledger, export)
    typed = with_finished(reading.review, before)
    open_classes = typed.open_by_class()
    named = finished(path, open_classes) if callable(finished) else finished
    new = _labels(named, open_classes, manifest)
    typed = with_finished(typed, new)
    known = verdicts.labels_elsewhere(ledger, export)
    return _Read(
        export=export,
        path=path,
        mended=mended,
        manifest=manifest,
        brought=brought,
        reading=reading,
        as_typed=typed,
        review=in_one_spelling(typed, manifest, known),
        known=known,
        finished_before=before,
        newly_finished=new,
        carried=path.resolve() != Path(unescape(export.tree)).resolve(),
    )


def _labels(named: Collection[str], open_classes: Mapping[str, int], manifest: Manifest) -> frozenset[str]:
    """The classes that are said to be finished, also where nothing is open in them: what is put back there is finished, too."""
    labels, places = set(manifest.folders.values()), Places(manifest)
    found = {name: name if name in labels else places.known(name) for name in named}
    if unknown := [name for name, label in found.items() if label is None]:
        counts = ", ".join(f"{label} ({count})" for label, count in open_classes.items())
        raise UsageError(
            f"The tree has no class {unknown[0]}, so nobody can have finished it. Nothing was recorded.",
            hint=f"Open are: {counts or 'none'}.",
        )
    return frozenset(filter(None, found.values()))


def _too_late(
    ledger: Ledger, export: Export, review: Review, changed: Sequence[FileVerdict], uncounted: set[str]
) -> list[FileVerdict]:
    """Of verdicts of a round that has ended, those that are otherwise than what was applied."""
    made = applications.labels(ledger, export.round)
    new = {v.file.path for v in changed}

    def is_otherwise(v: FileVerdict) -> bool:
        label = None if v.verdict is Verdict.EXPUNGE else v.label
        decides = v.verdict is not Verdict.OPEN or v.file.path in new
        return decides and made.get((v.file.digest, v.file.given), v.file.given) != label

    return [v for v in review.verdicts if v.file.path not in uncounted and is_otherwise(v)]


def find_tree(session: Session, tree: Path | None) -> ReviewTree:
    """The export that a review tree is of, and where it lies; default the one that is out, else the last one exported, where it
    was collected last.
    Raises UsageError where several are out."""
    ledger = session.ledger
    if tree is None:
        current = rounds.current(ledger)
        found = exports.of_round(ledger, current.number)
        if not found:
            raise NothingToDo(f"Round {current.number} has no review tree yet.", hint="Run `dupekit export`.")
        if is_cut_off(found[-1]):
            raise TreeUnavailable(
                f"The export to {found[-1].tree} was cut off.", hint="Run `dupekit export` again."
            )
        out = only_open(session, current.number)
        kept = [export for export in found if export.withdrawn is None]
        last = out.export if out else (kept or found)[-1]
        place = Path(unescape(exports.place(ledger, last)))
        # A tree that was carried away and collected there is read there again, and not an untouched copy that stayed.
        return ReviewTree(last, place if export_key(place) == last.key else Path(unescape(last.tree)))
    path = absolute(tree)
    _require_there(path)
    require_marker(path)
    key = tree_manifest(path).export
    export = exports.by_key(ledger, key)
    if export is None:
        raise TreeUnavailable(
            f"{path} was exported by another project (export {key[:8]}).",
            hint="Name the project it belongs to with -p.",
        )
    return ReviewTree(export, path)


def _require_there(tree: Path) -> None:
    with contextlib.suppress(OSError):  # what is wrong then, is said by who reads it
        if not (tree.exists() or tree.is_symlink()):
            raise TreeUnavailable(
                f"{tree} is not available as a review tree: it does not exist.",
                hint="Check the path and that its share is mounted. Nothing was taken as deleted. If the tree is lost,"
                " `dupekit withdraw` calls it back.",
            )


def _say_overruled(overruled: Sequence[Overruled]) -> list[str]:
    if not overruled:
        return []
    last = max(overruled, key=lambda one: one.at)
    count = len(overruled)
    return [
        f"{count} {'verdicts of this tree do' if count > 1 else 'verdict of this tree does'} not count: of an image"
        f" the latest decision does, and {last.tree}, collected on {last.at}, says otherwise. Only what has changed in a tree"
        " since it was collected is a new decision. `dupekit undo` takes the last collect back."
    ]


def _say_overturned(
    changed: Sequence[FileVerdict], uncounted: set[str], before: Mapping[str, Elsewhere]
) -> list[str]:
    """Decisions, made in another tree, whose place verdicts just recorded take."""
    found = [
        one
        for v in changed
        if v.verdict is not Verdict.OPEN
        and v.file.path not in uncounted
        and (one := before.get(v.file.path))
        and (one.verdict, one.label) != (v.verdict, v.label)
    ]
    if not found:
        return []
    count = len(found)
    trees = " and ".join(dict.fromkeys(one.tree for one in found))
    return [
        f"{count} earlier {'decisions' if count > 1 else 'decision'}, made in {trees},"
        f" {'are' if count > 1 else 'is'} overturned: of an image the latest decision counts. `dupekit undo` takes"
        " this collect back."
    ]


def _say_alike(as_typed: Review, reviewed: Review) -> list[str]:
    pairs = zip(as_typed.verdicts, reviewed.verdicts, strict=True)
    alike = {(typed.label, v.label) for typed, v in pairs if typed.label != v.label}
    return [
        f"The folder {typed} is read as the new class {label}: the names differ in case or Unicode form only."
        for typed, label in sorted(alike)
    ]


def _say_empty(reading: Reading) -> list[str]:
    files = reading.listing.files
    places = [v.now_at for v in reading.review.verdicts if v.now_at and v.file.size != 0]
    empty = [place for place in places if files[place].size == 0]
    if not empty:
        return []
    count = "1 image of the tree is" if len(empty) == 1 else f"{len(empty)} images of the tree are"
    return [
        f"{count} empty, such as {empty[0]}: a cloud service leaves them so until they are fetched. Read by name and"
        " place; where that is in doubt, make the tree available offline and collect again."
    ]


def _say_unreadable(found: Unreadable) -> list[str]:
    said = [
        f'No class can be called "{folder}": what lies in that folder ({counted(count, "image")}) is read as unsure.'
        f" {'Move it to where it belongs' if folder == MARKER else 'Rename the folder'}, and collect again."
        for folder, count in found.folders.items()
    ]
    if paths := found.concealed:
        lie, them = (
            ("lies under a hidden name", "it") if len(paths) == 1 else ("lie under hidden names", "them")
        )
        said.append(
            f"{counted(len(paths), 'image')} {lie}, such as {paths[0]}: some programs call deleted files so. Read as unsure."
            f" Delete or rename {them}, and collect again."
        )
    return said
