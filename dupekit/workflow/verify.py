"""Compares a project with itself: the ledger, its files, the dataset and the last corrected dataset.

Everything is opened for reading only, and nothing is mended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dupekit.correct.resolve import Unapplied
from dupekit.dataset.scan import File, list_dataset
from dupekit.errors import DupekitError
from dupekit.files.names import sort_key, unescape
from dupekit.files.paths import real_path
from dupekit.files.write import digest_file, read_lines
from dupekit.jobs.files import read_result
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import Ledger, images, review, rounds
from dupekit.ledger import integrity as check
from dupekit.review.manifest import read_manifest
from dupekit.settings import Settings
from dupekit.system.progress import Progress, silent


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


def verify(
    project: Path, dataset: Path, settings: Settings, *, quick: bool = False, progress: Progress = silent
) -> Verified:
    """Looks at everything and says what differs; `quick` compares sizes and times, not contents.

    Raises nothing for what is damaged: that is in the result.
    """
    work = _Check(project, dataset, settings, quick, progress)
    return Verified(list(work.all()), work.checked, quick, work.unapplied)


class _Check:
    def __init__(
        self, project: Path, dataset: Path, settings: Settings, quick: bool, progress: Progress
    ) -> None:
        self.project, self.dataset, self.settings = project, dataset, settings
        self.quick, self.progress = quick, progress
        self.checked = {
            "exports": 0,
            "rounds": 0,
            "runs": 0,
            "images": 0,
            "corrected images": 0,
            "corrections": 0,
        }
        self.unapplied: list[Unapplied] = []

    def all(self) -> Iterator[Difference]:
        path = self.project / "ledger.db"
        try:
            with Ledger(path, read_only=True) as ledger:
                parts: dict[str, Callable[[Ledger], Iterator[Difference]]] = {
                    "ledger": self.ledger,
                    "export": self.exports,
                    "round": self.rounds,
                    "dataset": self.images,
                    "corrected dataset": self.corrected,
                    "corrections": self.corrections,
                    "decisions": self.decisions,
                }
                for what, part in parts.items():
                    found: list[Difference] = []
                    try:
                        for difference in part(ledger):
                            found.append(difference)
                            yield difference
                    except sqlite3.DatabaseError as error:
                        found.append(Difference("ledger", f"ledger.db, read for: {what}", str(error)))
                        yield found[-1]
                    except (DupekitError, OSError) as error:
                        yield Difference(what, str(self.project), str(error).splitlines()[0])
                    if what == "ledger" and found:
                        yield Difference(
                            "ledger", "ledger.db", "is damaged: the rest was not compared with it"
                        )
                        return
        except DupekitError as error:
            yield Difference("ledger", "ledger.db", error.message)

    def ledger(self, ledger: Ledger) -> Iterator[Difference]:
        for where, how in check.faults(ledger):
            yield Difference("ledger", where, how)

    def exports(self, ledger: Ledger) -> Iterator[Difference]:
        for number in _round_numbers(ledger):
            of_round = review.exports(ledger, number)
            for export in of_round:
                self.checked["exports"] += 1
                part = "" if export is of_round[-1] else f".{export.key[:8]}"
                folder = RoundFolder(self.project, number).path
                known = check.exported(ledger, export.number)
                manifest, before = folder / f"manifest{part}.json", folder / f"before{part}.txt"
                for file, how in ((manifest, _manifest_fault), (before, _before_fault)):
                    fault = _fault_of(lambda f=file, h=how, k=export.key, n=known: h(f, k, n))  # type: ignore[misc]
                    if fault:
                        yield Difference("export", self._name(file), fault)

    def rounds(self, ledger: Ledger) -> Iterator[Difference]:
        paths = check.image_paths(ledger)
        counts = check.prediction_counts(ledger)
        for number in _round_numbers(ledger):
            self.checked["rounds"] += 1
            folder = RoundFolder(self.project, number)
            fault = _fault_of(lambda f=folder: _images_fault(f, paths, rounds.get(ledger, f.number).images))  # type: ignore[misc]
            if fault:
                yield Difference("round", self._name(folder.path / "images.json"), fault)
            done = [run for run in rounds.runs(ledger, number) if run.state == "done"]
            for pair in sorted({run.pair for run in done}):
                split = folder.path / "splits" / f"p{pair:02d}.npy"
                fault = _fault_of(lambda f=split, n=number: _split_fault(f, rounds.get(ledger, n).images))  # type: ignore[misc]
                if fault:
                    yield Difference("round", self._name(split), fault)
            for run in done:
                self.checked["runs"] += 1
                job = folder.run(run.pair, run.half)
                fault = _fault_of(lambda j=job, r=run: _run_fault(j, r, counts.get(r.number, 0)))  # type: ignore[misc]
                if fault:
                    yield Difference("round", self._name(job), fault)

    def images(self, ledger: Ledger) -> Iterator[Difference]:
        listing = list_dataset(self.dataset, follow_symlinks=self.settings.follow_symlinks)
        there = {file.path: file for file in listing.files}
        present = images.present(ledger)
        for count, (_, known, digest) in enumerate(present):
            self.progress("comparing the dataset", count, len(present))
            self.checked["images"] += 1
            fault = self._file_fault(known, there.pop(known.path, None), digest)
            if fault:
                yield Difference("dataset", known.path, fault)
        for path in there:
            yield Difference("dataset", path, "not there at the last scan")

    def _file_fault(self, known: File, found: File | None, digest: str) -> str:
        if found is None:
            return "missing"
        if known.mtime_ns == images.UNREAD:
            return ""  # the file system failed in the scan: nothing is known of it
        if found.size != known.size:
            return f"has {found.size} bytes, had {known.size} at the last scan"
        if (
            not self.quick
            and digest
            and (fault := _content_fault(real_path(self.dataset, known.path), digest))
        ):
            return fault
        return "has another time than at the last scan" if found.mtime_ns != known.mtime_ns else ""

    def corrected(self, ledger: Ledger) -> Iterator[Difference]:
        """The corrected dataset written last, while the dataset is still the one that was corrected: else the
        ledger knows its files no more."""
        for number, round_number, destination in check.applications(ledger)[:1]:
            folder = Path(unescape(destination))
            original = Path(unescape(rounds.get(ledger, round_number).dataset))
            # Removed, which is its owner's right, or become the dataset, which `images` compares.
            if folder.is_dir() and original.resolve() == self.dataset.resolve():
                yield from self._files(ledger, number, folder)

    def corrections(self, ledger: Ledger) -> Iterator[Difference]:
        """Where a corrected dataset has become the dataset: whether its corrections had come along.

        What a scan saw there once, and is gone, was changed by hand since: that is no damage.
        """
        here = self.dataset.resolve()
        for number, round_number, destination in check.applications(ledger):
            if Path(unescape(destination)).resolve() != here:
                continue
            for made in check.corrections(ledger, number):
                self.checked["corrections"] += 1
                fault = _correction_fault(made, round_number)
                if fault:
                    yield Difference("corrected dataset", made.path, fault)
            return  # an earlier one at the same place is no more

    def decisions(self, ledger: Ledger) -> Iterator[Difference]:
        """Those that `apply` does not make: what is said of them is no difference."""
        latest = rounds.latest(ledger)
        if latest is not None and latest.closed is None:
            self.unapplied = review.resolved(ledger, latest.number)[1]
        yield from ()

    def _files(self, ledger: Ledger, number: int, folder: Path) -> Iterator[Difference]:
        moved = check.applied_paths(ledger, number)
        known = {
            path: (file.size, digest)
            for image, file, digest in images.present(ledger)
            if file.mtime_ns != images.UNREAD and (path := moved.get(image, file.path))
        }
        there = {file.path: file for file in list_dataset(folder, follow_symlinks=True).files}
        for count, (path, (size, digest)) in enumerate(known.items()):
            self.progress("comparing the corrected dataset", count, len(known))
            self.checked["corrected images"] += 1
            found = there.pop(path, None)
            if found is None:
                yield Difference("corrected dataset", path, "missing")
            elif found.size != size:
                yield Difference("corrected dataset", path, f"has {found.size} bytes, not {size}")
            elif not self.quick and digest and (fault := _content_fault(real_path(folder, path), digest)):
                yield Difference("corrected dataset", path, fault)
        for path in there:
            yield Difference("corrected dataset", path, "was not written by apply")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.project).as_posix()


def _round_numbers(ledger: Ledger) -> range:
    latest = rounds.latest(ledger)
    return range(1, latest.number + 1 if latest else 1)


def _fault_of(look: Callable[[], str]) -> str:
    """What is wrong, also where looking itself fails."""
    try:
        return look()
    except DupekitError as error:
        return error.message
    except (OSError, ValueError, EOFError) as error:
        return str(error)


def _manifest_fault(file: Path, key: str, known: dict[str, tuple[str, str]]) -> str:
    manifest = read_manifest(file)
    if manifest.export != key:
        return "is the manifest of another export"
    said = {entry.path: (entry.original, entry.digest) for entry in manifest.files}
    wrong = sorted(path for path in said.keys() | known.keys() if said.get(path) != known.get(path))
    return f"differs from the ledger in {len(wrong)} files, such as {wrong[0]}" if wrong else ""


def _before_fault(file: Path, _key: str, known: dict[str, tuple[str, str]]) -> str:
    same = read_lines(file) == sorted(known, key=sort_key)
    return "" if same else "does not list the files that the ledger has of this export"


def _images_fault(folder: RoundFolder, paths: dict[int, str], count: int) -> str:
    of_round = folder.of_round
    if len(of_round.ids) != count:
        return f"has {len(of_round.ids)} images, the ledger {count}"
    rows = zip(of_round.ids, of_round.paths, strict=True)
    wrong = [path for number, path in rows if paths.get(number) != path]
    return f"has {len(wrong)} images that the ledger has not, such as {wrong[0]}" if wrong else ""


def _split_fault(file: Path, count: int) -> str:
    halves = np.load(file, allow_pickle=False)
    good = halves.dtype == np.bool_ and halves.shape == (count,)
    return "" if good else f"is no split of {count} images"


def _run_fault(folder: Path, run: rounds.Run, count: int) -> str:
    result = read_result(folder)
    if result is None:
        return "is done in the ledger, but result.json or predictions.npz is missing or says otherwise"
    if run.agreement is not None and abs(result.agreement - run.agreement) > 1e-9:
        return f"result.json says agreement {result.agreement:.6f}, the ledger {run.agreement:.6f}"
    with PredictionReader(folder) as reader:
        read = sum(len(numbers) for numbers, _ in reader.chunks())
    return "" if read == count else f"predictions.npz has {read} images, the ledger {count}"


def _correction_fault(made: check.Applied, round_number: int) -> str:
    if made.expunged:
        there = made.state in ("ok", "problem") and made.digest_there == made.digest
        return f"was expunged in round {round_number}, and is there at the last scan" if there else ""
    relabelled = f"was relabelled in round {round_number}, and"
    if made.state is None:
        return f"{relabelled} was missing when the corrected dataset was scanned"
    if made.state != "gone" and made.digest_there and made.digest_there != made.digest:
        return f"{relabelled} has other content at the last scan"
    return ""


def _content_fault(file: Path, digest: str) -> str:
    try:
        return "" if digest_file(file) == digest else "has other content"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
