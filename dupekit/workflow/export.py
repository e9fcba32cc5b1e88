"""Export: the flagged images go out as a review tree."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dupekit.errors import NothingToDo, UsageError
from dupekit.files.names import escape
from dupekit.files.paths import new_place
from dupekit.ledger import Ledger, exports, images, rounds, tallies
from dupekit.ledger.exports import FileRecord
from dupekit.review.manifest import Manifest, export_key, refuse_inside_tree
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.system.progress import Progress, silent
from dupekit.system.stamp import now
from dupekit.workflow.exports import clear_cut_off, keep
from dupekit.workflow.flag import rule_of
from dupekit.workflow.ingest import count_votes
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class Exported:
    round: int
    tree: Path
    manifest: Manifest


def export(session: Session, tree: Path | None, *, progress: Progress) -> Exported:
    """Writes the review tree of the flagged images, default place rounds/NN/dupes.

    Flags with the defaults where nothing has been flagged since the last training. Raises NothingToDo where there is
    nothing to review, UsageError where the tree exists.
    """
    ledger = session.ledger
    current = rounds.current(ledger)
    # After a training that was killed, votes are still to be counted, and an older flagging is void.
    pairs = count_votes(ledger, session.folder(current.number), silent)
    current = rounds.current(ledger)
    dupes = tallies.suspects(ledger, current.number, rule_of(current, session.settings))
    if not dupes:
        raise NothingToDo(
            "No image is flagged, so there is nothing to review.",
            hint="Lower the threshold with `dupekit flag --threshold`, or be glad.",
        )
    of_round = session.folder(current.number)
    tree = new_place(tree) if tree else of_round.path / "dupes"
    _refuse_inside(session.dataset, tree)
    refuse_inside_tree(tree)
    _refuse_again(ledger, tree)
    manifest = plan_tree(
        dupes,
        images.class_names(ledger),
        round_number=current.number,
        pairs=pairs,
        created=now(),
    )
    clear_cut_off(session, current.number)
    numbers = {dupe.path: dupe.image for dupe in dupes}

    def recorded(written: Manifest) -> AbstractContextManager[None]:
        return _recorded(session, tree, written, numbers)

    try:
        manifest = write_tree(manifest, session.dataset, tree, ready=recorded, progress=progress)
    except BaseException:
        if exports.by_key(ledger, manifest.export) is None:
            shutil.rmtree(of_round.export(manifest.export), ignore_errors=True)
        raise
    return Exported(current.number, tree, manifest)


@contextlib.contextmanager
def _recorded(session: Session, tree: Path, manifest: Manifest, numbers: Mapping[str, int]) -> Iterator[None]:
    """An export is recorded while its tree appears, and not any more where that fails. `numbers`: of the images."""
    keep(session.folder(manifest.round).export(manifest.export), manifest)
    try:
        exports.record(
            session.ledger,
            round_number=manifest.round,
            key=manifest.export,
            tree=escape(str(tree)),
            files={file.path: FileRecord(numbers[file.original]) for file in manifest.files},
        )
        yield
    except BaseException:
        if export_key(tree) != manifest.export:
            exports.forget(session.ledger, manifest.export)
        raise


def _refuse_again(ledger: Ledger, tree: Path) -> None:
    found = exports.by_key(ledger, export_key(tree) or "")
    if found:
        raise UsageError(
            f"{tree} exists already: it is the review tree that was exported on {found.created}.",
            hint="Have it reviewed and run `dupekit collect`, or name another folder for another export.",
        )


def _refuse_inside(dataset: Path, path: Path) -> None:
    if path.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(
            f"{path} lies inside the dataset, which dupekit never writes to.",
            hint="Name a folder elsewhere.",
        )
