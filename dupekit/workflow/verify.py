"""Verify: a project is compared with itself: the ledger, its files, the dataset and the last corrected dataset.

Everything is opened for reading only, and nothing is mended. A check is a function that yields what is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from dupekit.correct.placements import Source
from dupekit.correct.resolve import Unapplied
from dupekit.dataset.columns import BLOCK
from dupekit.dataset.scan import File, open_dataset
from dupekit.errors import DupekitError, LedgerError, LedgerUnavailable
from dupekit.files.names import sort_key, unescape
from dupekit.files.paths import real_path
from dupekit.files.regular import open_regular
from dupekit.files.write import digest_file, read_lines
from dupekit.jobs.files import read_result, read_weights
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.images import RoundImages
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import Ledger, applications, exports, images, integrity, predictions, rounds, verdicts
from dupekit.ledger.applications import Application, SeenCorrection, WrittenFile
from dupekit.ledger.exports import ExportedImage
from dupekit.ledger.images import ImageState
from dupekit.ledger.integrity import Fault
from dupekit.ledger.rounds import Run, RunState
from dupekit.review.manifest import read_manifest
from dupekit.settings import Settings
from dupekit.system.progress import Progress, stage
from dupekit.workflow.exports import differing
from dupekit.workflow.round_images import known_images
from dupekit.workflow.session import LEDGER, Session


@dataclass(frozen=True, slots=True)
class Difference:
    what: str
    """ "ledger", "export", "round", "dataset" or "corrected dataset"."""
    where: str
    how: str


@dataclass(frozen=True, slots=True)
class Verified:
    differences: list[Difference]
    checked: dict[str, int]
    """How many of each were looked at: exports, rounds, runs, images, corrected images, corrections."""
    quick: bool
    """Whether contents were left unread."""
    unapplied: list[Unapplied]
    """Decisions of the open round that `apply` does not make, as the last scan saw the dataset. No damage: the dataset
    was changed by hand."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a check is given, and where it counts what it has looked at."""

    session: Session
    quick: bool
    progress: Progress
    checked: Counter[str]

    @property
    def ledger(self) -> Ledger:
        return self.session.ledger

    def name(self, path: Path) -> str:
        return path.relative_to(self.session.root).as_posix()

    def each_round(self) -> Iterator[RoundFolder]:
        latest = rounds.latest(self.ledger)
        return map(self.session.folder, range(1, latest.number + 1 if latest else 1))


def verify(root: Path, settings: Settings, *, quick: bool, progress: Progress) -> Verified:
    """Looks at everything and says what differs; `quick` compares sizes and times, not contents.

    Raises nothing for what is damaged: that is in the result. Raises LedgerUnavailable where the ledger cannot be looked at
    now, for another program holds it or was killed while it wrote.
    """
    found: list[Difference] = []
    unapplied: list[Unapplied] = []
    checked = Counter(dict.fromkeys(_COUNTED, 0))
    try:
        with Ledger(root / LEDGER, read_only=True) as ledger:
            work = _Work(Session(ledger, root, settings), quick, progress, checked)
            with stage(progress, "checking the ledger"):
                found += _differences("ledger", integrity.faults(ledger), work)
            if found:
                found.append(Difference("ledger", LEDGER, "is damaged: the rest was not compared with it"))
            else:
                for what, check in _CHECKS:
                    found += _differences(what, check(work), work)
                unapplied = _unapplied(ledger)
    except LedgerUnavailable:
        raise
    except DupekitError as error:
        found.append(Difference("ledger", LEDGER, error.message))
    return Verified(found, dict(checked), quick, unapplied)


def _differences(what: str, faults: Iterator[Fault], work: _Work) -> Iterator[Difference]:
    """What a check yields, and what ends it."""
    try:
        for fault in faults:
            yield Difference(what, fault.where, fault.how)
    except LedgerUnavailable:
        raise
    except LedgerError as error:
        yield Difference("ledger", f"{LEDGER}, read for: {what}", error.message)
    except (DupekitError, OSError) as error:
        yield Difference(what, str(work.session.root), str(error).splitlines()[0])
    except (LookupError, TypeError, ValueError) as error:
        yield Difference("ledger", f"{LEDGER}, read for: {what}", f"cannot be understood: {error!r}")


def _unapplied(ledger: Ledger) -> list[Unapplied]:
    latest = rounds.latest(ledger)
    if latest is None or latest.closed is not None:
        return []
    return verdicts.resolved(ledger, latest.number).unapplied


def _check_ledger(work: _Work) -> Iterator[Fault]:
    with stage(work.progress, "checking the ledger's steps"):
        yield from integrity.misfits(work.ledger)


def _check_exports(work: _Work) -> Iterator[Fault]:
    for folder in work.each_round():
        for export in exports.of_round(work.ledger, folder.number):
            work.checked["exports"] += 1
            known = exports.files(work.ledger, export.number)
            manifest, before = (folder.export(export.key) / name for name in ("manifest.json", "before.txt"))
            yield from _looked(work.name(manifest), _manifest_fault, manifest, export.key, known)
            yield from _looked(work.name(before), _before_fault, before, known)


def _check_rounds(work: _Work) -> Iterator[Fault]:
    counts = predictions.counts(work.ledger)
    for folder in work.each_round():
        work.checked["rounds"] += 1
        count = rounds.get(work.ledger, folder.number).images
        yield from _looked(work.name(folder.images_file), _images_fault, work.ledger, folder, count)
        done = [run for run in rounds.runs(work.ledger, folder.number) if run.state is RunState.DONE]
        for pair in sorted({run.pair for run in done}):
            split = folder.split_file(pair)
            yield from _looked(work.name(split), _split_fault, split, count)
        first_stage = rounds.get(work.ledger, folder.number).plan.get("first_stage")
        if first_stage and any(run.pair > first_stage for run in done):
            weights = folder.weights_file
            yield from _looked(work.name(weights), _weights_fault, weights, count)
        for number, run in enumerate(done, 1):
            work.checked["runs"] += 1
            job = folder.run(run.pair, run.half)
            yield from _looked(work.name(job), _run_fault, job, run, counts.get(run.number, 0))
            work.progress("checking the runs", number, len(done))


def _check_dataset(work: _Work) -> Iterator[Fault]:
    dataset, settings = work.session.dataset, work.session.settings
    with stage(work.progress, "listing the dataset"):
        there = _files(dataset, follow_symlinks=settings.follow_symlinks)
        total = images.count_present(work.ledger)
    for known, found in _side_by_side(images.present(work.ledger), there):
        if known is not None:
            work.progress("comparing the dataset", work.checked["images"], total)
            work.checked["images"] += 1
            if fault := _file_fault(known, found, None if work.quick else dataset):
                yield Fault(known.path, fault)
        elif found is not None:
            yield Fault(found.path, "not there at the last scan")


def _check_corrected(work: _Work) -> Iterator[Fault]:
    """The corrected dataset written last, while the dataset is still the one that was corrected: else the
    ledger knows its files no more."""
    for application in applications.every(work.ledger)[:1]:
        folder = Path(unescape(application.destination))
        original = Path(unescape(rounds.get(work.ledger, application.round).dataset))
        # Removed, which is its owner's right, or become the dataset, which is compared as such.
        if folder.is_dir() and original.resolve() == work.session.dataset.resolve():
            yield from _compare_corrected(work, application, folder)


def _compare_corrected(work: _Work, application: Application, folder: Path) -> Iterator[Fault]:
    with stage(work.progress, "listing the corrected dataset"):
        there = _files(folder, follow_symlinks=True)
        total = images.count_present(work.ledger)
    for written, found in _side_by_side(applications.written(work.ledger, application.number), there):
        if written is not None:
            work.progress("comparing the corrected dataset", work.checked["corrected images"], total)
            work.checked["corrected images"] += 1
            if fault := _written_fault(written, found, None if work.quick else folder):
                yield Fault(written.path, fault)
        elif found is not None:
            yield Fault(found.path, "was not written by apply")


def _check_corrections(work: _Work) -> Iterator[Fault]:
    """Where a corrected dataset has become the dataset: whether its corrections had come along.

    What a scan saw there once, and is gone, was changed by hand since: that is no damage.
    """
    here = work.session.dataset.resolve()
    for application in applications.every(work.ledger):
        if Path(unescape(application.destination)).resolve() != here:
            continue
        for made in applications.corrections(work.ledger, application.number):
            work.checked["corrections"] += 1
            fault = _correction_fault(made, application.round)
            if fault:
                yield Fault(made.path, fault)
        return  # an earlier one at the same place is no more


_CHECKS: list[tuple[str, Callable[[_Work], Iterator[Fault]]]] = [
    ("ledger", _check_ledger),
    ("export", _check_exports),
    ("round", _check_rounds),
    ("dataset", _check_dataset),
    ("corrected dataset", _check_corrected),
    ("corrected dataset", _check_corrections),
]
_COUNTED = ("exports", "rounds", "runs", "images", "corrected images", "corrections")

_P = ParamSpec("_P")


def _looked(
    where: str, look: Callable[_P, str | None], *args: _P.args, **kwargs: _P.kwargs
) -> Iterator[Fault]:
    """What is wrong, also where looking itself fails."""
    try:
        how = look(*args, **kwargs)
    except DupekitError as error:
        how = error.message
    except OSError as error:
        how = f"cannot be read: {error.strerror or error}"
    except (ValueError, EOFError) as error:
        how = str(error)
    if how:
        yield Fault(where, how)


def _manifest_fault(file: Path, key: str, known: Mapping[str, ExportedImage]) -> str | None:
    manifest = read_manifest(file)
    if manifest.export != key:
        return "is the manifest of another export"
    wrong = differing(manifest, known)
    return f"differs from the ledger in {len(wrong)} files, such as {wrong[0]}" if wrong else None


def _before_fault(file: Path, known: Mapping[str, ExportedImage]) -> str | None:
    same = read_lines(file) == sorted(known, key=sort_key)
    return None if same else "does not list the files that the ledger has of this export"


def _images_fault(ledger: Ledger, folder: RoundFolder, count: int) -> str | None:
    of_round = folder.of_round
    if len(of_round) != count:
        return f"has {len(of_round)} images, the ledger {count}"
    wrong, example = 0, ""
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        known = images.paths(ledger, np.asarray(of_round.ids[block]).tolist())
        differing = [path for path, there in zip(of_round.paths[block], known, strict=True) if path != there]
        wrong, example = wrong + len(differing), example or (differing or [""])[0]
    if wrong:
        return f"has {wrong} images that the ledger has not, such as {example}"
    known_then = known_images(ledger, folder.number)
    return None if known_then is None else _differing(of_round, known_then)


def _differing(of_round: RoundImages, known: RoundImages) -> str | None:
    if of_round.classes != known.classes:
        return "has other classes than the ledger"
    differs = (of_round.labels != known.labels) | (of_round.digests.values != known.digests.values).any(
        axis=1
    )
    rows = np.flatnonzero(differs)
    if not len(rows):
        return None
    return f"has another label or digest than the ledger for {len(rows)} images, such as {of_round.paths[int(rows[0])]}"


def _split_fault(file: Path, count: int) -> str | None:
    with open_regular(file, "rb") as content:
        halves = np.load(content, allow_pickle=False)
    good = halves.dtype == np.bool_ and halves.shape == (count,)
    return None if good else f"is no split of {count} images"


def _weights_fault(file: Path, count: int) -> str | None:
    read_weights(file, count)
    return None


def _run_fault(folder: Path, run: Run, count: int) -> str | None:
    result = read_result(folder)
    if result is None:
        return "is done in the ledger, but result.json or predictions.npz is missing or says otherwise"
    if run.agreement is not None and abs(result.agreement - run.agreement) > 1e-9:
        return f"result.json says agreement {result.agreement:.6f}, the ledger {run.agreement:.6f}"
    with PredictionReader(folder) as reader:
        read = sum(len(numbers) for numbers, _ in reader.chunks())
    return None if read == count else f"predictions.npz has {read} images, the ledger {count}"


def _files(folder: Path, *, follow_symlinks: bool) -> Iterator[File]:
    """By path. Raises DatasetError, where a folder cannot be read when it is come to."""
    listings = open_dataset(folder, follow_symlinks=follow_symlinks).listings()
    return (file for listing in listings for file in listing.files)


class _AtPath(Protocol):
    @property
    def path(self) -> str: ...


_K = TypeVar("_K", bound=_AtPath)


def _side_by_side(known: Iterator[_K], found: Iterator[File]) -> Iterator[tuple[_K | None, File | None]]:
    """What is known and what is found, both by path, at each path of either."""
    file = next(found, None)
    for one in known:
        while file is not None and file.path < one.path:
            yield None, file
            file = next(found, None)
        if file is not None and file.path == one.path:
            yield one, file
            file = next(found, None)
        else:
            yield one, None
    while file is not None:
        yield None, file
        file = next(found, None)


def _file_fault(known: Source, found: File | None, root: Path | None) -> str | None:
    """Of an image of the dataset; its content is compared where its `root` is given."""
    if found is None:
        return "missing"
    if known.mtime_ns == images.UNREAD:
        return None  # the file system failed in the scan: nothing is known of it
    if found.size != known.size:
        return f"has {found.size} bytes, had {known.size} at the last scan"
    if root and (fault := _content_fault(real_path(root, known.path), known.digest)):
        return fault
    return "has another time than at the last scan" if found.mtime_ns != known.mtime_ns else None


def _written_fault(written: WrittenFile, found: File | None, root: Path | None) -> str | None:
    """Of an image of a corrected dataset; its content is compared where its `root` is given."""
    if found is None:
        return "missing"
    if found.size != written.size:
        return f"has {found.size} bytes, not {written.size}"
    return _content_fault(real_path(root, written.path), written.digest) if root else None


def _correction_fault(made: SeenCorrection, round_number: int) -> str | None:
    if made.expunged:
        there = made.state not in (None, ImageState.GONE) and made.digest_there == made.digest
        return f"was expunged in round {round_number}, and is there at the last scan" if there else None
    relabelled = f"was relabelled in round {round_number}, and"
    if made.state is None:
        return f"{relabelled} was missing when the corrected dataset was scanned"
    if made.state is not ImageState.GONE and made.digest_there and made.digest_there != made.digest:
        return f"{relabelled} has other content at the last scan"
    return None


def _content_fault(file: Path, digest: str) -> str | None:
    """`digest` is empty where the content was never read: then nothing is known of it."""
    try:
        return None if not digest or digest_file(file) == digest else "has other content"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
