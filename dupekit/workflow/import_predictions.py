"""Import: predictions that were made elsewhere become a round, which is reviewed as any other.

Each layer of the predictions (see `exchange.layers`) is recorded as a pair of one run: its job folder holds predictions.npz and
result.json as a worker leaves them, and its split says which images it is of.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import UsageError
from dupekit.exchange.layers import Part, layers
from dupekit.exchange.match import ImageNames, known_class
from dupekit.exchange.predicted import Predicted, refused
from dupekit.exchange.read import read_list, read_predictions
from dupekit.files.names import escape, sort_key
from dupekit.files.write import atomic_write, digest_file
from dupekit.jobs.files import Choice, Half, ResultFile, write_model
from dupekit.jobs.folder import Imported, Plan, PredictionFile, RoundFolder
from dupekit.jobs.images import RoundImages
from dupekit.jobs.predictions import writing_predictions
from dupekit.ledger import Ledger, images, rounds
from dupekit.ledger.database import understood
from dupekit.ledger.images import Columns
from dupekit.ledger.rounds import Round
from dupekit.plugin.contract import RESULT
from dupekit.rounds.chance import near_chance, too_good
from dupekit.rounds.in_words import counted
from dupekit.rounds.tally import agrees
from dupekit.system.progress import Progress, stage
from dupekit.system.stamp import now
from dupekit.workflow.ingest import count_votes, ingest
from dupekit.workflow.round_images import round_images
from dupekit.workflow.scan import require_unchanged
from dupekit.workflow.session import Session

_NAMED = 3
"""So many of a kind are named in a message."""
_BLOCK = 16384
"""So many predictions are written at a time."""


@dataclass(frozen=True, slots=True)
class FileTaken:
    """What came of one file."""

    name: str
    predictions: int
    """In the file."""
    taken: int
    unknown: int
    """Of images that the dataset does not have, or that cannot be read."""
    other_class: int
    """Of images whose class the file has no column for."""
    agreement: float
    """Share of those taken in which the given label is more probable than every other class."""
    too_good: bool
    """It agrees more than models do that never saw the images."""


@dataclass(frozen=True, slots=True)
class ImportedPredictions:
    """A round of predictions that were made elsewhere."""

    round: int
    files: list[FileTaken]
    images: int
    """Of the round."""
    missing: int
    """Readable images of the dataset that are in no file, and so not in the round."""
    classes: int
    pairs: int
    """As many predictions as an image has at most."""
    agreement: float
    chance: float
    """What naming the largest class every time would agree with."""
    too_good: bool
    """One file, or all together, agree more than models do that never saw the images."""

    @property
    def near_chance(self) -> bool:
        """Whether the predictions have next to nothing to do with the labels."""
        return near_chance(self.agreement, self.chance)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A file, and what its rows and columns are in the dataset."""

    found: Predicted
    digest: str
    rows: NDArray[np.int64]
    """Positions among the readable images; -1 for those that are not taken."""
    classes: list[str]
    unknown: int
    other_class: int

    @property
    def taken(self) -> int:
        return int((self.rows >= 0).sum())


def import_predictions(
    session: Session,
    files: Sequence[Path],
    *,
    paths: Path | None,
    classes: Path | None,
    partial: bool,
    progress: Progress,
) -> ImportedPredictions:
    """Begins a round of these predictions. Raises UsageError where a round is open, a file is not what it should be, or names what
    the dataset does not have, and, but with `partial`, where images are missing on either side; then nothing is recorded."""
    digests = _digests(files)
    number = _next_number(session)
    require_unchanged(session, progress)
    columns = images.readable(session.ledger)
    names = ImageNames(columns.paths, root=session.dataset)
    known = {size.name for size in images.class_sizes(session.ledger)}
    lists = {name: read_list(file) for name, file in (("paths", paths), ("classes", classes)) if file}
    read = []
    for count, (file, digest) in enumerate(zip(files, digests, strict=True)):
        progress("reading", count, len(files))
        found = read_predictions(file, **lists)
        read.append(_matched(found, digest, names, columns, known, partial=partial))
    progress("reading", len(files), len(files))
    return _record(session, number, read, columns, partial=partial, progress=progress)


def _digests(files: Sequence[Path]) -> list[str]:
    digests = []
    for file in files:
        if not file.is_file():
            raise refused(
                str(file),
                "is a folder" if file.is_dir() else "does not exist",
                hint="Name files of predictions.",
            )
        digests.append(digest_file(file))
    for at, digest in enumerate(digests):
        first = files[digests.index(digest)]
        if digests.index(digest) < at:
            raise refused(
                str(files[at]),
                f"is the same as {first}",
                hint="A prediction counts once: name each file once.",
            )
    return digests


def _next_number(session: Session) -> int:
    latest = rounds.latest(session.ledger)
    if latest is None or latest.closed is not None:
        return latest.number + 1 if latest else 1
    if _cut_off(session.ledger, latest):
        return latest.number
    raise UsageError(
        f"Round {latest.number} is open, and imported predictions are a round of their own.",
        hint="End it first: `dupekit next`. All files of one round go into one `dupekit import-predictions`.",
    )


def _cut_off(ledger: Ledger, latest: Round) -> bool:
    """Whether an import was begun, and ended before everything was recorded: it is done anew."""
    imported = understood(Plan.model_validate, latest.plan).imported
    return imported is not None and len(rounds.complete_pairs(ledger, latest.number)) < latest.pairs


def _matched(
    found: Predicted, digest: str, names: ImageNames, columns: Columns, known: set[str], *, partial: bool
) -> _Read:
    """Raises UsageError where a name is unknown or could mean several."""
    classes = _classes(found, known)
    matched = names.match(found.images)
    if matched.ambiguous:
        name, meant = next(iter(matched.ambiguous.items()))
        raise refused(
            found.source,
            f"names {counted(len(matched.ambiguous), 'image')} so that several could be meant, such as {name}: {', '.join(meant[:_NAMED])}",
            hint="Name images by their paths in the dataset.",
        )
    if len(matched.unknown) == len(found.images) or (matched.unknown and not partial):
        raise refused(
            found.source,
            f"names {len(matched.unknown):,} of {counted(len(found.images), 'image')} that the last scan did not find, or could not read,"
            f" such as {_some(matched.unknown)}",
            hint="Images are named by their paths in the dataset, or by file names that only one image has. `--partial` takes the others.",
        )
    rows = matched.rows
    taken = rows[rows >= 0]
    if len(np.unique(taken)) < len(taken):
        row = int(np.flatnonzero(np.bincount(taken) > 1)[0])
        twice = [name for name, at in zip(found.images, rows.tolist(), strict=True) if at == row]
        raise refused(
            found.source, f"has the image {columns.paths[row]} twice, as {' and '.join(twice[:_NAMED])}"
        )
    foreign = np.array([label not in classes for label in columns.classes], bool)
    other = (rows >= 0) & foreign[columns.labels[rows]]
    if other.any() and not partial:
        without = sorted({columns.classes[at] for at in columns.labels[rows[other]].tolist()}, key=sort_key)
        raise refused(
            found.source,
            f"has no column for the class {_some(without)}, and {counted(int(other.sum()), 'image')} of it",
            hint="A model that does not know a class cannot judge its images. `--partial` leaves them out.",
        )
    return _Read(found, digest, np.where(other, -1, rows), classes, len(matched.unknown), int(other.sum()))


def _classes(found: Predicted, known: set[str]) -> list[str]:
    """The dataset's classes that the columns are of."""
    classes = [known_class(name, known) for name in found.classes]
    unknown = [name for name, label in zip(found.classes, classes, strict=True) if label is None]
    if unknown:
        near = [one for name in unknown for one in difflib.get_close_matches(escape(name), known, 1, 0.7)]
        meant = f"Did you mean {' or '.join(near[:_NAMED])}? " if near else ""
        raise refused(
            found.source,
            f"names {len(unknown)} classes that the dataset does not have: {_some(unknown)}"
            if len(unknown) > 1
            else f"names a class that the dataset does not have: {unknown[0]}",
            hint=f"{meant}For a class without images yet, make an empty folder of its name in the dataset, and scan.",
        )
    labels = [label for label in classes if label is not None]
    if len(labels) < 2:
        raise refused(found.source, f"is of {len(labels)} class: two are needed")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise refused(found.source, f"has the class {twice} twice")
    return labels


def _record(
    session: Session, number: int, read: list[_Read], columns: Columns, *, partial: bool, progress: Progress
) -> ImportedPredictions:
    predicted = np.zeros(len(columns.paths), bool)
    for one in read:
        predicted[one.rows[one.rows >= 0]] = True
    missing = np.flatnonzero(~predicted)
    if not predicted.any():
        raise UsageError("No image of the dataset is left.", hint="Nothing was imported.")
    if len(missing) and not partial:
        raise UsageError(
            f"{len(missing):,} of the dataset's {counted(len(predicted), 'image')} are in no file, such as"
            f" {_some(columns.paths.take(missing[: _NAMED + 1]), len(missing))}.",
            hint="`--partial` leaves them out of the round. Nothing was imported.",
        )
    kept = np.flatnonzero(predicted)
    place = np.cumsum(predicted) - 1  # of a readable image among those of the round
    classes = {label for one in read for label in one.classes}
    of_round = round_images(session.place, classes, columns.take(kept), None, movable=session.movable)
    dealt = layers([np.where(one.rows >= 0, place[one.rows], -1) for one in read], len(kept))
    folder = session.folder(number)
    if (begun := rounds.latest(session.ledger)) and begun.number == number:  # cut off, and now done anew
        shutil.rmtree(folder.path, ignore_errors=True)
    folder.create(of_round)
    # Before its predictions are there: what lies in a round's folder without a record is nobody's.
    rounds.begin(
        session.ledger,
        number=number,
        dataset=of_round.dataset,
        movable=of_round.movable,
        pairs=len(dealt),
        images=len(kept),
        plan=_plan(read, of_round).model_dump_json(),
        halves=(Half.A,),
    )
    writer = _Writer(folder, read, of_round)
    for pair, parts in enumerate(dealt, 1):
        progress("writing", pair - 1, len(dealt))
        writer.write(pair, parts)
    with stage(progress, "recording"):
        for run in rounds.runs(session.ledger, number):
            ingest(session.ledger, folder, run)
    count_votes(session.ledger, folder, progress)
    taken = [writer.taken(file) for file in range(len(read))]
    agreeing, predictions = int(writer.agreeing.sum()), sum(one.taken for one in taken)
    return ImportedPredictions(
        round=number,
        files=taken,
        images=len(kept),
        missing=len(missing),
        classes=len(of_round.classes),
        pairs=len(dealt),
        agreement=agreeing / predictions,
        chance=float(np.bincount(of_round.labels).max() / len(kept)),
        too_good=too_good(agreeing, predictions) or any(one.too_good for one in taken),
    )


def _plan(read: list[_Read], of_round: RoundImages) -> Plan:
    files = [
        PredictionFile(name=escape(one.found.source), digest=one.digest, predictions=one.taken)
        for one in read
    ]
    none = Choice(name="imported")
    return Plan(
        trainer=none,
        validator=none,
        seed=0,
        split="redraw",
        class_min=1,
        imported=Imported(files=files, classes=of_round.classes),
    )


class _Writer:
    """Writes a job folder for each layer, and counts how far each file agrees with the labels."""

    def __init__(self, folder: RoundFolder, read: list[_Read], of_round: RoundImages) -> None:
        self.folder, self.read = folder, read
        self.ids, self.labels = of_round.ids, of_round.labels
        self.classes = len(of_round.classes)
        number = {label: i for i, label in enumerate(of_round.classes)}
        self.columns = [[number[label] for label in one.classes] for one in read]
        self.agreeing = np.zeros(len(read), np.int64)

    def write(self, pair: int, parts: list[Part]) -> None:
        of, at = np.full(len(self.ids), -1), np.zeros(len(self.ids), np.int64)
        for number, part in enumerate(parts):
            of[part.rows], at[part.rows] = number, part.at
        rows = np.flatnonzero(of >= 0)
        job = self.folder.run(pair, Half.A)
        job.mkdir(parents=True)
        split = self.folder.split_file(pair)
        split.parent.mkdir(exist_ok=True)
        with atomic_write(split) as out:
            np.save(out, of >= 0)
        before = self.agreeing.sum()
        with writing_predictions(job, images=self.ids[rows], classes=self.classes, dtype=np.float32) as write:
            for start in range(0, len(rows), _BLOCK):
                block = rows[start : start + _BLOCK]
                write(self._block(parts, block, of[block], at[block]))
        result = ResultFile(
            name=job.name,
            status="done",
            finished=now(),
            images_predicted=len(rows),
            agreement=int(self.agreeing.sum() - before) / len(rows),
            notes={"imported": sorted({escape(self.read[part.file].found.source) for part in parts})},
        )
        write_model(job / RESULT, result)

    def _block(
        self, parts: list[Part], rows: NDArray[np.int64], of: NDArray[np.int64], at: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The probabilities of these images, of which each has them from one part, there at this position."""
        values = np.zeros((len(rows), self.classes), np.float32)
        for number, part in enumerate(parts):
            own = np.flatnonzero(of == number)
            found = self.read[part.file].found.probabilities[at[own]]
            values[own[:, None], self.columns[part.file]] = found
            self.agreeing[part.file] += int(agrees(values[own], self.labels[rows[own]]).sum())
        return values

    def taken(self, file: int) -> FileTaken:
        one, agreeing = self.read[file], int(self.agreeing[file])
        return FileTaken(
            name=one.found.source,
            predictions=len(one.found.images),
            taken=one.taken,
            unknown=one.unknown,
            other_class=one.other_class,
            agreement=agreeing / one.taken if one.taken else 0.0,
            too_good=too_good(agreeing, one.taken),
        )


def _some(names: Iterable[str], total: int | None = None) -> str:
    """The first of them, and how many more there are."""
    listed = list(names)
    total = len(listed) if total is None else total
    more = f" and {total - _NAMED:,} more" if total > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
