"""Export of results: what a round knows of each image, for tools that look elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dupekit.errors import UsageError
from dupekit.exchange.arrays import write_npz
from dupekit.exchange.results import ENDINGS, WRITERS, Format, write_samples
from dupekit.files.paths import make_parent
from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import Ledger, results
from dupekit.rounds.tally import means
from dupekit.settings import FILE
from dupekit.system.progress import Progress, stage
from dupekit.workflow.ingest import counted_runs
from dupekit.workflow.last_round import dataset_of, last_round
from dupekit.workflow.page_place import place_for, write_page
from dupekit.workflow.round_images import ensure_images
from dupekit.workflow.session import LEDGER, Session

SAMPLES = "samples.json"
"""What FiftyOne wants its file to be called."""


@dataclass(frozen=True, slots=True)
class ResultsWritten:
    file: Path
    format: Format
    round: int
    images: int


def export_results(
    session: Session, out: Path, *, wanted: str | None, overwrite: bool, progress: Progress
) -> ResultsWritten:
    """Writes the results of the last round; reads only, so that a training may go on meanwhile.

    Raises NothingToDo while no pair of the round is complete, UsageError where the format is not clear, `out` exists and
    nobody said `overwrite`, or is a part of the project, or it lies in the dataset or a review tree.
    """
    file = place_for(session, out, such_as="results.csv")
    format_ = _format(out, wanted)
    with last_round(session, progress) as current:
        if file.is_symlink() or (file.exists() and not (overwrite and file.is_file())):
            raise UsageError(
                f"{out} exists already.",
                hint="Name another file, or say that its place is to be taken: `--overwrite`.",
            )
        _refuse_own(session, file)
        make_parent(file)
        folder = session.folder(current.number)

        def write(opened: BinaryIO) -> None:
            if format_ is Format.CLEANLAB:
                _write_arrays(opened, session.ledger, folder)
                return
            rows = results.results(session.ledger, current.number)
            if format_ is Format.FIFTYONE:
                write_samples(opened, rows, dataset=dataset_of(session, current).resolve())
            else:
                WRITERS[format_](opened, rows)

        with stage(progress, "writing"):
            write_page(file, write)
        return ResultsWritten(file, format_, current.number, results.count(session.ledger, current.number))


def _refuse_own(session: Session, file: Path) -> None:
    """Raises UsageError where a file would take the place of one that makes up the project."""
    root = session.root.resolve()
    kept = [root / name for name in (LEDGER, FILE, "rounds", "cache")]
    if file.exists() and any(file.resolve().is_relative_to(one) for one in kept):
        raise UsageError(f"{file} is a part of the project.", hint="Name a file elsewhere.")


def _format(out: Path, wanted: str | None) -> Format:
    if wanted is not None and wanted not in set(Format):
        raise UsageError(f"There is no format {wanted!r}.", hint=f"Valid are: {', '.join(Format)}.")
    format_ = Format(wanted) if wanted else ENDINGS.get(out.suffix.lower())
    if format_ is None:
        raise UsageError(
            f"The name {out.name} does not say what format is meant.",
            hint=f"Name it by its ending, {', '.join(ENDINGS)}, or with --format {'/'.join(Format)}.",
        )
    if format_ is Format.FIFTYONE and out.name != SAMPLES:
        raise UsageError(
            f"FiftyOne imports a folder with a file {SAMPLES}, not {out.name}.",
            hint=f"Name one in a folder of its own, such as {out.with_suffix('') / SAMPLES}.",
        )
    return format_


def _write_arrays(out: BinaryIO, ledger: Ledger, folder: RoundFolder) -> None:
    ensure_images(ledger, folder)
    of_round = folder.of_round
    with counted_runs(ledger, folder) as runs:
        write_npz(
            out,
            labels=of_round.labels.astype(np.int64),
            paths=of_round.paths,
            classes=of_round.classes,
            probabilities=means(len(of_round), len(of_round.classes), runs),
        )
