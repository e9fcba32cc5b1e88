"""Project: the Python API. Each method is one command; it records what it does and returns plain values.

It opens the ledger, locked where the command writes; the longer commands stand in `training`, `reviewing` and
`correcting`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dupekit.correct.copying import Mode
from dupekit.dataset.scan import list_dataset
from dupekit.errors import DatasetError, NotAProject, NothingToDo, UsageError
from dupekit.files.lock import exclusive
from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute
from dupekit.ledger import Ledger, convergence, images, review, rounds, tallies
from dupekit.ledger import ignores as ignore_list
from dupekit.ledger import steps as history
from dupekit.ledger.steps import Change, Step
from dupekit.review.ignore_list import Ignored, from_csv
from dupekit.review.manifest import Manifest
from dupekit.review.questions import Question
from dupekit.settings import FILE, Settings, change_settings, checked, read_settings, write_settings
from dupekit.system.progress import Progress, silent
from dupekit.workflow import apply as correcting
from dupekit.workflow import exports as keeping
from dupekit.workflow import pipeline, reviewing
from dupekit.workflow import train as training
from dupekit.workflow.pipeline import Scan
from dupekit.workflow.results import Applied, Collected, Exported, Flagged, Imported, Status, Trained
from dupekit.workflow.verify import Verified, verify


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
        dataset, path = absolute(dataset), absolute(path)
        if (path / FILE).exists():
            raise UsageError(f"{path} is a dupekit project already.", hint="Name another folder with -p.")
        _check_dataset(dataset, path, follow_symlinks=follow_symlinks)
        path.mkdir(parents=True, exist_ok=True)
        with Ledger(path / "ledger.db", create=True):
            pass
        write_settings(path / FILE, Settings(dataset=str(dataset), follow_symlinks=follow_symlinks))
        return cls(path)

    @property
    def dataset(self) -> Path:
        return self.path / self.settings.dataset  # an absolute setting stands for itself

    def scan(self, *, every: bool = False, progress: Progress = silent) -> Scan:
        """Brings the ledger up to date with the dataset. Files whose size and time are as before are not read again,
        but with `every`."""
        with self._writing("scan") as ledger:
            return pipeline.scan(ledger, self.dataset, self.settings, progress, every=every)

    def train(
        self,
        *,
        pairs: int | None = None,
        dry_run: bool = False,
        keep_models: bool = False,
        progress: Progress = silent,
        begun: Callable[[Trained], None] = lambda _: None,
        ended: Callable[[rounds.Run], None] = lambda _: None,
        **choices: Any,
    ) -> Trained:
        """Runs what is missing of the current round, or begins one; called again, it goes on.

        `choices` are settings of this call: trainer, validator, executor, device, seed, split, class_min,
        options (added to those of dupekit.toml). `begun` is told the plan before the first run starts,
        `ended` of each run that ends. Raises UsageError where a choice contradicts the round that has begun; DatasetChanged where the
        dataset is not what the last scan saw. Failed runs are in the result.
        """
        settings = self._chosen(choices)
        with self._reading() if dry_run else self._writing("train") as ledger:
            return training.train(
                ledger,
                self.path,
                self.dataset,
                settings,
                choices=choices,
                pairs=pairs,
                dry_run=dry_run,
                keep_models=keep_models,
                progress=progress,
                begun=begun,
                ended=ended,
            )

    def status(self) -> Status:
        """Where the project stands."""
        with self._reading() as ledger:
            current = rounds.latest(ledger)
            sizes = images.class_sizes(ledger)
            number = current.number if current else 0
            return Status(
                dataset=self.settings.dataset,
                images=sum(count for _, count, _ in sizes),
                classes=sum(count > 0 for _, count, _ in sizes),
                problems=len(images.problems(ledger)),
                round=current,
                runs=rounds.runs(ledger, number),
                pairs_done=len(rounds.complete_pairs(ledger, number)),
                flags=len(tallies.flagged(ledger, number)),
                exports=review.exports(ledger, number),
                verdicts=review.verdict_counts(ledger, number),
                unapplied=review.resolved(ledger, number)[1] if current and not current.closed else [],
                ignored=len(ignore_list.ignores(ledger)),
                applications=review.applications(ledger, number),
                rounds=convergence.by_round(ledger),
                acceptance=convergence.acceptance(ledger),
            )

    def flag(self, *, threshold: int | None = None, limit: int | None = None) -> Flagged:
        """Flags the dupes of the current round; with `limit` only the most suspicious.

        The threshold is the argument, else the setting, else four in five of the planned pairs. Raises
        NothingToDo while no pair is complete.
        """
        with self._writing("flag") as ledger:
            return reviewing.flag(ledger, self.path, self.settings, threshold=threshold, limit=limit)

    def export(self, tree: Path | None = None, *, progress: Progress = silent) -> Exported:
        """Writes the review tree of the flagged images, default place rounds/NN/dupes.

        Flags with the defaults where nothing has been flagged since the last training. Raises NothingToDo where there is
        nothing to review, UsageError where the tree exists.
        """
        with self._writing("export") as ledger:
            return reviewing.export(ledger, self.path, self.dataset, self.settings, tree, progress=progress)

    def collect(
        self,
        tree: Path | None = None,
        *,
        who: str = "",
        confirm: Callable[[list[Question]], bool] | None = None,
    ) -> Collected:
        """Compares a review tree, default the last one exported, with its manifest; records the verdicts.

        It may be called as often as one likes, also while the technician is at work. Events that a watcher
        wrote into the tree itself are picked up. Where what changed since the last time looks like a slip, as when
        whole folders were deleted or moved, `confirm` is asked; without it, or if it says no, NotConfirmed is raised
        and nothing is recorded. Raises TreeUnavailable where the tree cannot be read in full, is not of this project, or, at
        the default place, of another export.
        """
        with self._writing("collect") as ledger:
            return reviewing.collect(ledger, self.path, tree, who=who, confirm=confirm)

    def apply(
        self,
        destination: Path,
        *,
        mode: Mode = "copy",
        who: str = "",
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> Applied:
        """Writes the corrected dataset and patch.csv; called again after a kill, it goes on.

        With `dry_run` it only says what would change. A verdict is on a content under its given label, as an entry
        of the ignore list is; those that the dataset has nothing for any more are in the result. Raises NothingToDo
        before the first `collect`.
        """
        with self._reading() if dry_run else self._writing("apply") as ledger:
            return correcting.apply(
                ledger,
                self.path,
                self.dataset,
                self.settings,
                destination,
                mode=mode,
                who=who,
                dry_run=dry_run,
                progress=progress,
            )

    def verify(self, *, quick: bool = False, progress: Progress = silent) -> Verified:
        """Compares ledger, files, dataset and the last corrected dataset; writes nothing, and takes no lock."""
        return verify(self.path, self.dataset, self.settings, quick=quick, progress=progress)

    def next_round(self, dataset: Path | None = None) -> Scan:
        """Ends the current round and scans the dataset for the next: the last corrected one, or another.

        The ignore list goes along. Raises NothingToDo where no round has been begun.
        """
        with self._writing("next") as ledger:
            current = rounds.current(ledger)
            applied = review.applications(ledger, current.number)
            if dataset is None and applied:
                dataset = Path(unescape(applied[-1][0]))
            settings = self.settings
            if dataset is not None:
                dataset = absolute(dataset)
                linked = any(a == (escape(str(dataset)), "symlink") for a in (row[:2] for row in applied))
                changes: dict[str, Any] = {"dataset": str(dataset)}
                if linked:  # dupekit made these links itself
                    changes["follow_symlinks"] = True
                settings = settings.model_copy(update=changes)
                _check_dataset(dataset, self.path, follow_symlinks=settings.follow_symlinks)
                change_settings(self.path / FILE, **changes)
                self.settings = settings
            rounds.close(ledger, current.number)
            return pipeline.scan(ledger, self.dataset, settings, silent)

    def undo(self) -> Step:
        """Takes back what the last collect, or the last apply, recorded, whatever its round.

        Verdicts and ignore list are as they were before; edits of the list by hand stand. Nothing is deleted, and no
        file is touched. Raises NothingToDo where no step stands, UsageError where the last is an apply of a round
        that `next_round` has ended.
        """
        with self._writing("undo") as ledger:
            step = history.undo(ledger)
            if step is None:
                raise NothingToDo(
                    "There is no collect and no apply to take back.",
                    hint="`dupekit history` shows all steps.",
                )
            return step

    def history(self) -> list[Step]:
        """Every collect that changed verdicts and every apply, in order, undone or not."""
        with self._reading() as ledger:
            return history.steps(ledger)

    def history_of(self, path: str) -> list[Change]:
        """What was decided on an image, by its escaped path in the dataset; raises UsageError where it is unknown."""
        with self._reading() as ledger:
            return history.changes(ledger, path)

    def ignores(self) -> list[Ignored]:
        """The ignore list."""
        with self._reading() as ledger:
            return ignore_list.ignores(ledger)

    def ignore(self, paths: Sequence[str]) -> int:
        """Adds images, by their escaped paths in the dataset; returns how many were new on the list."""
        with self._writing("ignore") as ledger:
            found = self._found(ledger, paths)
            for entry in found:
                problem = images.problem_of(ledger, entry.path)
                if problem:
                    raise UsageError(
                        f"{entry.path} cannot go on the ignore list: {problem}.",
                        hint="Nothing was added. Mend the file, run `dupekit scan`, and try again.",
                    )
            return ignore_list.add(ledger, found)

    def unignore(self, paths: Sequence[str]) -> int:
        """Takes images off the list again; returns how many were on it."""
        with self._writing("ignore") as ledger:
            return ignore_list.remove(ledger, self._found(ledger, paths))

    def import_ignores(self, content: bytes, name: str) -> Imported:
        """Adds all of a CSV as `dupekit ignore export` writes it, or, with a UsageError, nothing of it."""
        with self._writing("ignore") as ledger:
            entries = from_csv(content, name)
            classes = {label for label, _, _ in images.class_sizes(ledger)}
            unknown = Counter(entry.label for entry in entries if entry.label not in classes)
            added = ignore_list.add(ledger, entries)
            return Imported(added, len(entries) - added, dict(unknown))

    def tree(self, tree: Path | None = None) -> tuple[review.Export, Path]:
        """The export that a review tree is of, and where it lies; default the last one exported."""
        with self._reading() as ledger:
            return reviewing.find_tree(ledger, tree)

    def manifest_of(self, export: review.Export, tree: Path | None = None) -> Manifest:
        """The project's own copy of an export's manifest: the one that is believed. Where it is missing or damaged, that
        of the tree (default: where it was exported to) if it agrees with the ledger, else raises TreeUnavailable."""
        with self._reading() as ledger:
            return keeping.manifest_of(ledger, self.path, export, tree)

    def listing_of(self, export: review.Export, name: str) -> Path:
        """Where manifest.json, before.txt or after.txt of an export stands: under its plain name for the
        round's last export, as in "after.1a2b3c4d.txt" for an earlier one."""
        with self._reading() as ledger:
            return keeping.listing_of(ledger, self.path, export, name)

    def record_events(self, export: review.Export, events: Sequence[tuple[str, str, str, str]]) -> None:
        """Adds what a watcher saw: time, kind, path and target."""
        with self._reading() as ledger:  # a short transaction, which SQLite itself guards
            review.record_event(ledger, export.number, events)

    def scores(self) -> list[tuple[str, str, str, int, float]]:
        """Path, given label, suggested label, votes and score of every image of the current round."""
        with self._reading() as ledger:
            return tallies.scores(ledger, rounds.current(ledger).number)

    def predictions(self) -> Iterator[tuple[str, str]]:
        """Path and predicted label of every held-out prediction of the current round."""
        with self._reading() as ledger:
            yield from rounds.predictions(ledger, rounds.current(ledger).number)

    def _found(self, ledger: Ledger, paths: Sequence[str]) -> list[Ignored]:
        found = []
        for path in paths:
            row = images.find(ledger, path)
            if row is None:
                raise UsageError(
                    f"The dataset has no image {path}.",
                    hint="Give paths as `dupekit flag` prints them, relative to the dataset.",
                )
            found.append(Ignored(row[1], row[2], path, ""))
        return found

    def _chosen(self, choices: dict[str, Any]) -> Settings:
        given = {name: value for name, value in choices.items() if value is not None}
        if "options" in given:
            given["options"] = {**self.settings.options, **given["options"]}
        return checked({**self.settings.model_dump(), **given})

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Ledger]:
        with Ledger(self.path / "ledger.db") as ledger:
            yield ledger

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[Ledger]:
        """The ledger, while no other dupekit writes. The system frees the lock of a process that dies."""
        with exclusive(self.path / "lock", what), self._reading() as ledger:
            yield ledger


def _check_dataset(dataset: Path, project: Path, *, follow_symlinks: bool) -> None:
    """Raises DatasetError where the folder cannot serve, UsageError where the project lies inside it."""
    list_dataset(dataset, follow_symlinks=follow_symlinks)
    if project.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(
            f"The project {project} would lie inside the dataset, which dupekit never writes to.",
            hint="Name a folder elsewhere.",
        )
    try:
        str(dataset).encode()
    except UnicodeEncodeError:
        raise DatasetError(
            f"The dataset's own path {escape(str(dataset))} is not valid UTF-8, so {FILE} cannot hold it.",
            hint="Rename that folder, or reach it through a link with another name.",
        ) from None
