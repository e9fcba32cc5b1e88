"""Project: the Python API. Each method is one command; it records what it does and returns plain values.

A method opens the ledger, locked where the command writes, and makes one call into `workflow`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from dupekit.correct.copying import Mode
from dupekit.errors import LockedError, NotAProject
from dupekit.jobs.evaluation import Evaluation
from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import ignores, predictions, rounds, steps, tallies
from dupekit.ledger.exports import Export
from dupekit.ledger.predictions import Prediction
from dupekit.ledger.rounds import Run
from dupekit.ledger.steps import Change, Step
from dupekit.ledger.tallies import Scores
from dupekit.review.ignore_list import Ignored
from dupekit.review.manifest import Manifest
from dupekit.review.style import Style
from dupekit.rounds.rules import RuleName
from dupekit.settings import FILE, read_settings
from dupekit.system.progress import Progress, silent
from dupekit.workflow import exports, ignore
from dupekit.workflow.advice import Advice, advice
from dupekit.workflow.agreement import Agreement, agreement
from dupekit.workflow.apply import Applied, apply
from dupekit.workflow.collect import Collected, Confirm, Finished, ReviewTree, collect, find_tree
from dupekit.workflow.evaluate import SEEDS, evaluate
from dupekit.workflow.explain import Explained, explain
from dupekit.workflow.export import Exported, export
from dupekit.workflow.export_results import ResultsWritten, export_results
from dupekit.workflow.flag import Flagged, flag, flag_beside
from dupekit.workflow.ignore import Imported
from dupekit.workflow.import_predictions import ImportedPredictions, import_predictions
from dupekit.workflow.init import init
from dupekit.workflow.next_round import next_round
from dupekit.workflow.plan import Choices
from dupekit.workflow.report import LIMIT, Reported, report
from dupekit.workflow.scan import Scan, find_changes, scan
from dupekit.workflow.selection import Selection
from dupekit.workflow.session import Session, reading, writing
from dupekit.workflow.sheets import SheetsWritten, class_sheets
from dupekit.workflow.status import Status, status
from dupekit.workflow.train import Listener, Manner, Trained, train
from dupekit.workflow.undo import undo
from dupekit.workflow.verify import Verified, verify
from dupekit.workflow.withdraw import Withdrawn, withdraw


class Project:
    """A project folder: dupekit.toml, the ledger and the rounds.

    Methods that write raise LockedError while another process writes; all raise subclasses of
    DupekitError, and OSError where the system refuses.
    """

    def __init__(self, path: Path) -> None:
        """Opens a project. Raises NotAProject where the folder holds no dupekit.toml."""
        self.path = Path(path).absolute()
        if not (self.path / FILE).is_file():
            raise NotAProject(
                f"{path} is not a dupekit project: it holds no {FILE}.",
                hint="Make one with `dupekit init DATASET -p PROJECT`, or name one with -p.",
            )
        self.settings = read_settings(self.path / FILE)

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Opens the nearest project from `start` (default: the current folder) upward."""
        here = (start or Path.cwd()).absolute()
        for folder in (here, *here.parents):
            if (folder / FILE).is_file():
                return cls(folder)
        raise NotAProject(
            f"There is no {FILE} in {here} or a folder above it.",
            hint="Change into a project, name one with -p, or make one with `dupekit init DATASET -p PROJECT`.",
        )

    @classmethod
    def create(cls, dataset: Path, path: Path, *, follow_symlinks: bool = False) -> Project:
        """Makes a project for a dataset; `scan` is the next step.

        Raises DatasetError where the dataset cannot serve, UsageError where there is a project already or
        where it would lie inside the dataset.
        """
        return cls(init(dataset, path, follow_symlinks=follow_symlinks))

    @property
    def dataset(self) -> Path:
        return self.path / self.settings.dataset  # an absolute setting stands for itself

    def scan(self, *, every: bool = False, progress: Progress = silent) -> Scan:
        """Brings the ledger up to date with the dataset. Files whose size and time are as before are not read again,
        but with `every`."""
        with self._writing("scan") as session:
            return scan(session, find_changes(session, progress, every=every), progress)

    def train(
        self,
        choices: Choices | None = None,
        *,
        dry_run: bool = False,
        keep_models: bool = False,
        until_stable: bool = False,
        detach: bool = False,
        progress: Progress = silent,
        begun: Callable[[Trained], None] = lambda _: None,
        ended: Callable[[Run], None] = lambda _: None,
        leaves: Callable[[], bool] = lambda: False,
    ) -> Trained:
        """Runs what is missing of the current round, or begins one; called again, it goes on. With `until_stable` it stops
        where a further pair hardly changes the list: the round then has the pairs that are done. With `detach` it submits what
        is missing and returns, where the executor can do that: called again, it takes up what is done.

        `begun` is told the plan before the first run starts, `ended` of each run that ends; `leaves` is asked at Ctrl-C whether
        what was submitted shall go on. Raises UsageError where a choice contradicts the round that has begun; DatasetChanged where the
        dataset is not what the last scan saw. Failed runs are in the result.
        """
        choices = choices or Choices()
        settings = choices.over(self.settings)
        opened = reading(self.path, settings) if dry_run else writing(self.path, settings, "train")
        with opened as session:
            manner = Manner(
                dry_run=dry_run, keep_models=keep_models, until_stable=until_stable, detach=detach
            )
            return train(session, choices, Listener(progress, begun, ended, leaves), manner)

    def status(self) -> Status:
        """Where the project stands."""
        with self._reading() as session:
            return status(session)

    def advice(self) -> Advice:
        """What is next."""
        with self._reading() as session:
            return advice(session)

    def agreement(self) -> Agreement:
        """How far the models of each round, and of the last one class by class, agree with the given labels.

        Raises NothingToDo while no pair is complete."""
        with self._reading() as session:
            return agreement(session)

    def flag(self, *, rule: RuleName | None = None, threshold: int | None = None) -> Flagged:
        """The suspects of the current round. Told a rule or a threshold, which means the rule `votes`, it sets the round's
        rule; else it changes nothing, and works while a training goes on: it then counts the pairs that are complete.

        Raises NothingToDo while no pair is complete, UsageError for a threshold that cannot be, LockedError where it would set a
        rule while another command writes.
        """
        try:
            with self._writing("flag") as session:
                return flag(session, rule=rule, threshold=threshold)
        except LockedError:
            if rule is not None or threshold is not None:
                raise
        with self._reading() as session:
            return flag_beside(session)

    def report(self, out: Path | None = None, *, limit: int = LIMIT, progress: Progress = silent) -> Reported:
        """Writes one page of the last round's suspects, the `limit` most suspicious, beside typical images, with what is known of
        the round; default rounds/NN/report.html. It needs nothing else and takes no lock: a training may go on meanwhile.

        Raises NothingToDo while no pair is complete, UsageError where `out` is a file that dupekit did not write, or lies in the
        dataset or a review tree.
        """
        with self._reading() as session:
            return report(session, out, limit=limit, progress=progress)

    def class_sheets(self, out: Path | None = None, *, progress: Progress = silent) -> SheetsWritten:
        """Writes reference sheets, a page a class: typical images, and the classes that it is usually confused with; default
        rounds/NN/classes.html. Raises as `report`."""
        with self._reading() as session:
            return class_sheets(session, out, progress=progress)

    def explain(self, image: str | Path, *, html: Path | None = None) -> Explained:
        """All that is known of an image: of a path relative to the dataset, of a file in the dataset, or of one in a review tree
        of the project. With `html` also as a page that needs no other file; it takes the place of an earlier one.

        Changes nothing else. Raises UsageError for an image that is unknown, with names that are near.
        """
        with self._reading() as session:
            found = explain(session, str(image))
            if html:
                from dupekit.workflow.explain_page import (
                    write_explain_page,
                )  # Jinja2, which few commands need

                write_explain_page(session, found, html)
            return found.explained

    def export(
        self,
        tree: Path | None = None,
        selection: Selection | None = None,
        style: Style | None = None,
        *,
        progress: Progress = silent,
    ) -> Exported:
        """Writes a review tree, default place rounds/NN/dupes, then dupes-2, dupes-3 ...; by default of the next batch: the
        most suspicious that are neither decided nor out in another tree.

        Raises NothingToDo where nothing is left to review, UsageError where the tree exists, or selection and style ask for
        what makes no sense.
        """
        with self._writing("export") as session:
            return export(session, tree, selection or Selection(), style or Style(), progress=progress)

    def import_predictions(
        self,
        files: Sequence[Path],
        *,
        paths: Path | None = None,
        classes: Path | None = None,
        partial: bool = False,
        progress: Progress = silent,
    ) -> ImportedPredictions:
        """Takes probabilities of models that never saw the images, made elsewhere, as a round: .npz, .npy (with lists `paths` and
        `classes`), .csv, and the results of ifcb_classifier. An image may be in any number of files.

        With `partial` images that the dataset or the files lack are left out. Raises UsageError, else, for these, for other
        classes, for what is no file of probabilities, and where a round is open; then nothing is recorded.
        """
        with self._writing("import-predictions") as session:
            return import_predictions(
                session, files, paths=paths, classes=classes, partial=partial, progress=progress
            )

    def export_results(
        self, out: Path, *, wanted: str | None = None, overwrite: bool = False, progress: Progress = silent
    ) -> ResultsWritten:
        """Writes what is known of each image of the last round: as CSV, JSON Lines, Parquet, for cleanlab or for FiftyOne, by the
        file's ending or the format `wanted`. Takes no lock.

        Raises NothingToDo while no pair is complete, UsageError where the format is not clear, where the file exists and nobody
        said `overwrite`, or where it lies in the dataset or a review tree.
        """
        with self._reading() as session:
            return export_results(session, out, wanted=wanted, overwrite=overwrite, progress=progress)

    def collect(
        self,
        tree: Path | None = None,
        *,
        who: str | None = None,
        finished: Collection[str] | Finished = (),
        confirm: Confirm | None = None,
    ) -> Collected:
        """Compares a review tree, default the one that is out, with its manifest; records the verdicts.

        It may be called as often as one likes, also while the technician is at work. What lies untouched is open and decides
        nothing, except in the classes that are `finished`: labels, folders in the tree, or what a function chooses from the
        classes that have open images (`all_finished`). That is remembered.

        Where what changed since the last time looks like a slip, as when whole folders were deleted or moved, `confirm` is
        asked; without it, or if it says no, NotConfirmed is raised and nothing is recorded. Raises UsageError where the tree
        has no class of a name in `finished`; TreeUnavailable where the tree cannot be read in full, is not of this project,
        or, at the default place, of another export.
        """
        with self._writing("collect") as session:
            return collect(session, tree, who=who, finished=finished, confirm=confirm)

    def apply(
        self,
        destination: Path,
        *,
        mode: Mode = "copy",
        who: str | None = None,
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> Applied:
        """Writes the corrected dataset and patch.csv; called again after a kill, it goes on.

        With `dry_run` it only says what would change. A verdict is on a content under its given label, as an entry
        of the ignore list is; those that the dataset has nothing for any more are in the result. Raises NothingToDo
        before the first `collect`.
        """
        with self._reading() if dry_run else self._writing("apply") as session:
            return apply(session, destination, mode=mode, who=who, dry_run=dry_run, progress=progress)

    def evaluate(
        self,
        choices: Choices | None = None,
        *,
        test: Path | None = None,
        seeds: int = SEEDS,
        progress: Progress = silent,
    ) -> Evaluation:
        """Shows whether the last correction helped: trains on the round's images before and after it, as the round was trained but
        for `choices`, with the same seeds, and compares what both say of the same test images: those of a folder whose
        sub-folders are classes, or by default images whose label nobody disputed. No test image is trained on.

        Called again, it goes on where it was. The ledger stays as it is, and others may write it meanwhile. Raises NothingToDo where
        no corrected dataset was written, or it is as the original, or too few images are undisputed; UsageError for a folder
        that cannot serve and for fewer than five seeds; JobError where a training fails.
        """
        choices = choices or Choices()
        with reading(self.path, choices.over(self.settings)) as session:
            return evaluate(session, choices, test=test, seeds=seeds, progress=progress)

    def verify(self, *, quick: bool = False, progress: Progress = silent) -> Verified:
        """Compares ledger, files, dataset and the last corrected dataset; writes nothing, and takes no lock."""
        return verify(self.path, self.settings, quick=quick, progress=progress)

    def withdraw(self, tree: Path | None = None) -> Withdrawn:
        """Calls a review tree back, default the only one with open images: what is open in it goes out again with the next
        batch, what was collected from it stays.

        `tree` is its folder, its manifest, or where it was, if it is there no more. No file is touched, and the tree may
        still be collected. Raises UsageError where it is not clear which, NothingToDo where it is called back already or its
        round has ended.
        """
        with self._writing("withdraw") as session:
            return withdraw(session, tree)

    def next_round(self, dataset: Path | None = None, *, who: str | None = None, drop: bool = False) -> Scan:
        """Ends the current round and scans the dataset for the next: the last corrected one, or another.

        The ignore list goes along. Raises NothingToDo where no round has been begun, and, but with `drop`, UsageError where
        images are open in trees that are out, verdicts are not collected, or corrections not applied.
        """
        try:
            with self._writing("next") as session:
                return next_round(session, dataset, who=who, drop=drop)
        finally:
            self.settings = read_settings(self.path / FILE)

    def undo(self) -> Step:
        """Takes back the last step: what a collect or an apply recorded, whatever its round, or the end of a round.

        Verdicts and ignore list are as they were before; edits of the list by hand stand. A round that is open again is on
        its dataset again, which is scanned. Nothing is deleted, and no file is touched but dupekit.toml. Raises NothingToDo
        where no step stands, UsageError where the last is the end of a round and the training of the next has begun.
        """
        try:
            with self._writing("undo") as session:
                return undo(session)
        finally:
            self.settings = read_settings(self.path / FILE)

    def history(self) -> list[Step]:
        """Every collect that changed verdicts, every apply and every end of a round, in order, undone or not."""
        with self._reading() as session:
            return steps.steps(session.ledger)

    def history_of(self, path: str) -> list[Change]:
        """What was decided on an image, by its escaped path in the dataset; raises UsageError where it is unknown."""
        with self._reading() as session:
            return steps.changes(session.ledger, path)

    def ignores(self) -> list[Ignored]:
        """The ignore list."""
        with self._reading() as session:
            return ignores.ignores(session.ledger)

    def ignore(self, paths: Sequence[str]) -> int:
        """Adds images, by their escaped paths in the dataset; returns how many were new on the list."""
        with self._writing("ignore") as session:
            return ignore.add(session, paths)

    def unignore(self, paths: Sequence[str]) -> int:
        """Takes images off the list again; returns how many were on it."""
        with self._writing("ignore") as session:
            return ignore.remove(session, paths)

    def import_ignores(self, content: bytes, name: str) -> Imported:
        """Adds all of a CSV as `dupekit ignore export` writes it, or, with a UsageError, nothing of it."""
        with self._writing("ignore") as session:
            return ignore.import_csv(session, content, name)

    def tree(self, tree: Path | None = None) -> ReviewTree:
        """A review tree, default the one that is out, and the export that it is of."""
        with self._reading() as session:
            return find_tree(session, tree)

    def manifest_of(self, export: Export, tree: Path | None = None) -> Manifest:
        """The project's own copy of an export's manifest: the one that is believed. Where it is missing or damaged, that
        of the tree (default: where it was exported to) if it agrees with the ledger, else raises TreeUnavailable."""
        with self._reading() as session:
            return exports.manifest_of(session, export, tree)

    def folder_of(self, export: Export) -> Path:
        """The folder of an export in the project: manifest.json, before.txt, after.txt and events.jsonl."""
        return RoundFolder(self.path, export.round).export(export.key)

    def scores(self) -> Scores:
        """What was counted of every image of the current round."""
        with self._reading() as session:
            return tallies.scores(session.ledger, rounds.current(session.ledger).number)

    def predictions(self) -> Iterator[Prediction]:
        """Every held-out prediction of the current round, one by one."""
        with self._reading() as session:
            yield from predictions.of_round(session.ledger, rounds.current(session.ledger).number)

    def _reading(self) -> AbstractContextManager[Session]:
        return reading(self.path, self.settings)

    def _writing(self, what: str) -> AbstractContextManager[Session]:
        return writing(self.path, self.settings, what)
