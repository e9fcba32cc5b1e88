"""Apply: the verdicts of a round become a corrected dataset and a patch."""

from __future__ import annotations

from pathlib import Path

from dupekit.correct.build import check_destination, is_finished, write_dataset
from dupekit.correct.copying import Mode
from dupekit.correct.patch import write_patch, write_unapplied
from dupekit.correct.placements import Source, plan_dataset
from dupekit.errors import NothingToDo, UsageError
from dupekit.files.names import escape
from dupekit.files.paths import new_place
from dupekit.ledger import Ledger, images, review, rounds
from dupekit.settings import Settings
from dupekit.system.progress import Progress
from dupekit.system.stamp import user
from dupekit.workflow import pipeline
from dupekit.workflow.results import Applied
from dupekit.workflow.runs import RoundFolder


def apply(
    ledger: Ledger,
    project: Path,
    dataset: Path,
    settings: Settings,
    destination: Path,
    *,
    mode: Mode,
    who: str,
    dry_run: bool,
    progress: Progress,
) -> Applied:
    """As `Project.apply`."""
    current = rounds.current(ledger)
    if not review.verdict_counts(ledger, current.number):
        raise NothingToDo(
            f"There are no verdicts in round {current.number} to apply.",
            hint="Export the dupes, have them reviewed, and run `dupekit collect`.",
        )
    destination = new_place(destination)
    if not is_finished(destination):
        check_destination(dataset, destination)
        _refuse_inside_project(project, destination)
    pipeline.require_unchanged(ledger, dataset, settings)
    corrections, unapplied = review.resolved(ledger, current.number)
    sources, unread = [], []
    for number, file, digest in images.present(ledger):
        if file.mtime_ns == images.UNREAD:
            unread.append(file.path)
        else:
            sources.append(Source(number, file.path, file.label, file.size, file.mtime_ns, digest))
    placements = plan_dataset(sources, {c.image: c for c in corrections})
    folder = RoundFolder(project, current.number).path
    patch = folder / "patch.csv"
    result = Applied(current.number, destination, len(placements), corrections, patch, unread, unapplied)
    if dry_run:
        return result

    def record() -> None:
        write_patch(patch, corrections, placements)
        write_unapplied(folder / "unapplied.csv", unapplied)
        review.record_application(
            ledger,
            round_number=current.number,
            destination=escape(str(destination)),
            mode=mode,
            who=who or user(),
            made=corrections,
            placements=placements,
        )

    write_dataset(placements, dataset, destination, mode=mode, progress=progress, done=record)
    return result


def _refuse_inside_project(project: Path, destination: Path) -> None:
    if destination.resolve().is_relative_to(project.resolve()):
        raise UsageError(
            f"{destination} lies inside the project {project}, whose folders hold rounds and review trees.",
            hint="Name a folder elsewhere, such as beside the dataset.",
        )
