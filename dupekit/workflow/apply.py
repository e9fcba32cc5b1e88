"""Apply: the verdicts of a round become a corrected dataset and a patch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from dupekit.correct.build import check_destination, is_finished, partial_of, write_dataset
from dupekit.correct.copying import Mode
from dupekit.correct.patch import write_patch, write_unapplied
from dupekit.correct.placements import Correction, plan_dataset
from dupekit.correct.resolve import Unapplied
from dupekit.errors import NothingToDo, UsageError
from dupekit.files.names import escape
from dupekit.files.paths import new_place
from dupekit.ledger import Ledger, applications, exports, images, rounds, verdicts
from dupekit.ledger.exports import Purpose
from dupekit.system.progress import Progress
from dupekit.system.stamp import user
from dupekit.workflow.scan import require_unchanged
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True)
class Applied:
    round: int
    destination: Path
    files: int
    corrections: list[Correction]
    patch: Path
    unread: list[str]
    """Images that the file system did not let the last scan read: they are not in the corrected dataset."""
    unapplied: list[Unapplied]
    """Decisions that change nothing, for the dataset is not what was decided on any more."""
    open: int
    """Images of the round that are out for review and have no verdict: their labels stay."""

    @property
    def expunged(self) -> list[Correction]:
        """Of the corrections those that drop an image."""
        return [correction for correction in self.corrections if not correction.new_label]


def apply(
    session: Session, destination: Path, *, mode: Mode, who: str | None, dry_run: bool, progress: Progress
) -> Applied:
    """Plans the corrected dataset and, unless `dry_run`, writes and records it."""
    ledger = session.ledger
    current = rounds.current(ledger)
    if not verdicts.counts(ledger, current.number):
        raise NothingToDo(
            f"There are no verdicts in round {current.number} to apply.",
            hint="Export the dupes, have them reviewed, and run `dupekit collect`.",
        )
    destination = new_place(destination)
    finished = is_finished(destination)
    if not finished:
        _refuse_again(ledger, current.number, destination)
        check_destination(session.dataset, destination)
        _refuse_inside_project(session.root, destination)
    require_unchanged(session, progress)
    resolved = verdicts.resolved(ledger, current.number)
    corrections, unapplied = resolved.corrections, resolved.unapplied
    plan = plan_dataset(images.Readable.of(ledger), {one.image: one for one in corrections})
    folder = session.folder(current.number).path
    patch = folder / "patch.csv"
    still = sum(
        one.open for one in exports.out(ledger, current.number) if one.export.purpose is Purpose.REVIEW
    )
    result = Applied(
        current.number,
        destination,
        len(plan),
        corrections,
        patch,
        images.unread(ledger),
        unapplied,
        still,
    )
    if dry_run:
        return result

    def record() -> None:
        write_patch(patch, corrections, plan.new_paths)
        write_unapplied(folder / "unapplied.csv", unapplied)
        applications.record(
            ledger,
            round_number=current.number,
            destination=escape(str(destination)),
            mode=mode,
            who=who or user(),
            made=corrections,
            new_paths=plan.new_paths,
            movable=session.goes_along(destination),
            once=finished,  # an earlier call may have been killed while it cleared up
        )

    write_dataset(plan, session.dataset, destination, mode=mode, progress=progress, done=record)
    return result


def _refuse_again(ledger: Ledger, round_number: int, destination: Path) -> None:
    for done in applications.of_round(ledger, round_number) if destination.is_dir() else ():
        if done.destination == escape(str(destination)):
            with contextlib.suppress(OSError):
                partial_of(destination).rmdir()  # of a call that was killed while it cleared up
            raise UsageError(
                f"{destination} exists already: it is the corrected dataset that was applied on {done.at}.",
                hint="Go on with `dupekit next`, or name a folder that does not exist yet.",
            )


def _refuse_inside_project(project: Path, destination: Path) -> None:
    if destination.resolve().is_relative_to(project.resolve()):
        raise UsageError(
            f"{destination} lies inside the project {project}, whose folders hold rounds and review trees.",
            hint="Name a folder elsewhere, such as beside the dataset.",
        )
