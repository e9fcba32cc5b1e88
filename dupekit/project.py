"""Project: the Python API. Each method is one command; it records what it does and returns plain values."""

from __future__ import annotations

import contextlib
import getpass
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dupekit import pipeline
from dupekit.api import Progress, silent
from dupekit.apply import (
    Source,
    check_destination,
    is_finished,
    plan_dataset,
    write_dataset,
)
from dupekit.errors import DatasetError, DupekitError, NotAProject, NothingToDo, TreeUnavailable, UsageError
from dupekit.export import plan_tree, write_tree
from dupekit.files import absolute, escape, exclusive, now, unescape, write_lines
from dupekit.flag import default_threshold
from dupekit.ignores import Ignored, from_csv
from dupekit.ledger import Ledger, convergence, history, images, review, rounds, tallies
from dupekit.ledger import ignores as ignore_list
from dupekit.ledger.history import Change, Step
from dupekit.manifest import Manifest, read_manifest, write_manifest
from dupekit.patch import write_patch
from dupekit.pipeline import Scan
from dupekit.placing import Mode
from dupekit.portable import read_marker
from dupekit.questions import Question, questions, refused, top_folders
from dupekit.results import Applied, Collected, Exported, Flagged, Imported, Status, Trained
from dupekit.review import Verdict, require_marker, review_tree, tree_manifest
from dupekit.runs import Plan, RoundFolder
from dupekit.scan import list_dataset
from dupekit.settings import FILE, Settings, change_settings, checked, read_settings, write_settings
from dupekit.verify import Verified, verify

_CLOSED = (
    "Round {} has ended: what was labelled right goes on the ignore list, but labels are not changed any more."
    " What is wrong can be flagged again in the next round."
)


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

    def scan(self, *, progress: Progress = silent) -> Scan:
        """Brings the ledger up to date with the dataset."""
        with self._writing("scan") as ledger:
            return pipeline.scan(ledger, self.dataset, self.settings, progress)

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
            work = pipeline.find_work(ledger, self.path, self.dataset, settings, pairs=pairs)
            if not work.begins:
                _refuse_other_plan(work.plan, settings, choices, work.folder.number)
            names = [rounds.run_name(pair, half) for pair in range(1, work.pairs + 1) for half in "ab"]
            report = Trained(
                round=work.folder.number,
                begun=work.begins,
                plan=work.plan,
                chosen=work.begins and settings.trainer == "auto",
                executor=settings.executor,
                device=settings.device,
                images=len(work.of_round.ids),
                classes=len(work.of_round.classes),
                pairs=work.pairs,
                todo=[name for name in names if name not in work.done],
                failed=[],
                not_assessable=work.not_assessable,
                agreement=None,
            )
            if dry_run:
                return report
            pipeline.begin(ledger, work)
            begun(report)
            try:
                pipeline.execute(
                    ledger, work, settings, keep_models=keep_models, progress=progress, ended=ended
                )
            except BaseException:
                with contextlib.suppress(DupekitError):  # what is done counts; why it ended is what to say
                    work.folder.update_tallies(ledger, progress)
                raise
            work.folder.update_tallies(ledger, progress)
            runs = rounds.runs(ledger, work.folder.number)
            agreements = [run.agreement for run in runs if run.agreement is not None]
            return replace(
                report,
                failed=[(run.name, run.error) for run in runs if run.state == "failed"],
                agreement=sum(agreements) / len(agreements) if agreements else None,
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
            return self._flag(ledger, threshold=threshold, limit=limit)

    def export(self, tree: Path | None = None, *, progress: Progress = silent) -> Exported:
        """Writes the review tree of the flagged images, default place rounds/NN/dupes.

        Flags with the defaults where nothing has been flagged since the last training. Raises NothingToDo where there is
        nothing to review, UsageError where the tree exists.
        """
        with self._writing("export") as ledger:
            current = rounds.current(ledger)
            # After a training that was killed, votes are still to be counted, and an older flagging is void.
            pairs = RoundFolder(self.path, current.number).update_tallies(ledger, silent)
            if rounds.current(ledger).threshold is None:
                self._flag(ledger, threshold=None, limit=None)
            dupes = tallies.flagged(ledger, current.number)
            if not dupes:
                raise NothingToDo(
                    "No image is flagged, so there is nothing to review.",
                    hint="Lower the threshold with `dupekit flag --threshold`, or be glad.",
                )
            folder = RoundFolder(self.path, current.number).path
            tree = absolute(tree) if tree else folder / "dupes"
            self._refuse_inside_dataset(tree)
            manifest = plan_tree(
                dupes,
                [name for name, _, _ in images.class_sizes(ledger)],
                round_number=current.number,
                pairs=pairs,
                created=now(),
            )
            write_tree(manifest, self.dataset, tree, progress=progress)
            numbers = {dupe.path: dupe.image for dupe in dupes}
            review.record_export(
                ledger,
                round_number=current.number,
                key=manifest.export,
                tree=escape(str(tree)),
                files={file.path: numbers[file.original] for file in manifest.files},
            )
            self._keep_manifest(folder, manifest)
            return Exported(current.number, tree, manifest)

    def collect(
        self,
        tree: Path | None = None,
        *,
        who: str = "",
        confirm: Callable[[list[Question]], bool] | None = None,
    ) -> Collected:
        """Compares a review tree, default the last one exported, with its manifest; records the verdicts.

        It may be called as often as one likes, also while the technician is at work. Events that a watcher
        wrote into the tree itself are picked up. Where whole folders were deleted or moved since the last
        time, `confirm` is asked; without it, or if it says no, NotConfirmed is raised and nothing is
        recorded. Raises TreeUnavailable where the tree cannot be read in full, is not of this project, or, at
        the default place, of another export.
        """
        with self._writing("collect") as ledger:
            export, path = self._find_tree(ledger, tree)
            manifest = self.manifest_of(export)
            brought = read_marker(path, manifest)
            reviewed = review_tree(path, manifest)
            folders = top_folders(path)

            def check(changed: list[Verdict]) -> None:
                asked = questions(reviewed.verdicts, changed, folders)
                if asked and not (confirm and confirm(asked)):
                    raise refused(asked)

            changed = review.record_verdicts(
                ledger, export, reviewed.verdicts, who=who or _who(), check=check
            )
            remaining = [v.now_at for v in reviewed.verdicts if v.now_at]
            write_lines(self.listing_of(export, "after.txt"), remaining)
            events = review.pick_up_events(ledger, export.number, brought.events)
            overruled = review.overruled(ledger, export, reviewed.verdicts)
            closed = rounds.get(ledger, export.round).closed is not None
            return Collected(
                round=export.round,
                tree=path,
                review=reviewed,
                changed=changed,
                overruled=[verdict for verdict, _, _ in overruled],
                closed=closed,
                events=events,
                remarks=[
                    *brought.remarks,
                    *_say_overruled(overruled),
                    *([_CLOSED.format(export.round)] if closed else []),
                ],
            )

    def apply(
        self, destination: Path, *, mode: Mode = "copy", dry_run: bool = False, progress: Progress = silent
    ) -> Applied:
        """Writes the corrected dataset and patch.csv; called again after a kill, it goes on.

        With `dry_run` it only says what would change. Raises NothingToDo before the first `collect`.
        """
        with self._reading() if dry_run else self._writing("apply") as ledger:
            current = rounds.current(ledger)
            if not review.verdict_counts(ledger, current.number):
                raise NothingToDo(
                    f"There are no verdicts in round {current.number} to apply.",
                    hint="Export the dupes, have them reviewed, and run `dupekit collect`.",
                )
            destination = absolute(destination)
            if not is_finished(destination):
                check_destination(self.dataset, destination)
            pipeline.require_unchanged(ledger, self.dataset, self.settings)
            corrections = review.corrections(ledger, current.number)
            sources, unread = [], []
            for number, file, digest in images.present(ledger):
                if file.mtime_ns == images.UNREAD:
                    unread.append(file.path)
                else:
                    sources.append(Source(number, file.path, file.label, file.size, file.mtime_ns, digest))
            placements = plan_dataset(sources, {c.image: c for c in corrections})
            patch = RoundFolder(self.path, current.number).path / "patch.csv"
            result = Applied(current.number, destination, len(placements), corrections, patch, unread)
            if dry_run:
                return result

            def record() -> None:
                write_patch(patch, corrections, placements)
                review.record_application(
                    ledger,
                    round_number=current.number,
                    destination=escape(str(destination)),
                    mode=mode,
                    made=corrections,
                    placements=placements,
                )

            write_dataset(placements, self.dataset, destination, mode=mode, progress=progress, done=record)
            return result

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
            return self._find_tree(ledger, tree)

    def manifest_of(self, export: review.Export) -> Manifest:
        """The project's own copy of an export's manifest: the one that is believed."""
        manifest = read_manifest(self.listing_of(export, "manifest.json"))
        if manifest.export != export.key:
            raise TreeUnavailable(
                f"{self.listing_of(export, 'manifest.json')} is the manifest of another export.",
                hint="Restore it from a backup, or from the folder .dupekit of the review tree.",
            )
        return manifest

    def listing_of(self, export: review.Export, name: str) -> Path:
        """Where manifest.json, before.txt or after.txt of an export stands: under its plain name for the
        round's last export, as in "after.1a2b3c4d.txt" for an earlier one."""
        file = RoundFolder(self.path, export.round).path / name
        with self._reading() as ledger:
            last = review.exports(ledger, export.round)[-1]
        return file if export.key == last.key else _renamed(file, export.key)

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

    def _flag(self, ledger: Ledger, *, threshold: int | None, limit: int | None) -> Flagged:
        current = rounds.current(ledger)
        pairs = RoundFolder(self.path, current.number).update_tallies(ledger, silent)
        if not pairs:
            raise NothingToDo(
                f"No pair of round {current.number} is complete yet.", hint="Run `dupekit train`."
            )
        least = threshold or self.settings.threshold or default_threshold(current.pairs)
        if least > current.pairs:
            raise UsageError(
                f"A threshold of {least} votes cannot be reached: the round has {current.pairs} pairs.",
                hint=f"Name a threshold from 1 to {current.pairs}, or train more pairs.",
            )
        dupes = tallies.dupes(ledger, current.number, threshold=least)[:limit]
        tallies.record_flags(ledger, current.number, dupes, threshold=least)
        return Flagged(
            round=current.number,
            pairs=pairs,
            pairs_planned=current.pairs,
            threshold=least,
            dupes=dupes,
            ignored=tallies.ignored(ledger, current.number, threshold=least),
            outdated=tallies.outdated(ledger, current.number),
        )

    def _find_tree(self, ledger: Ledger, tree: Path | None) -> tuple[review.Export, Path]:
        if tree is None:
            current = rounds.current(ledger)
            found = review.exports(ledger, current.number)
            if not found:
                raise NothingToDo(
                    f"Round {current.number} has no review tree yet.", hint="Run `dupekit export`."
                )
            return found[-1], Path(unescape(found[-1].tree))
        path = absolute(tree)
        require_marker(path)
        key = tree_manifest(path).export
        export = review.export_by_key(ledger, key)
        if export is None:
            raise TreeUnavailable(
                f"{path} was exported by another project (export {key[:8]}).",
                hint="Name the project it belongs to with -p.",
            )
        return export, path

    def _keep_manifest(self, folder: Path, manifest: Manifest) -> None:
        latest = folder / "manifest.json"
        if latest.is_file():  # of an earlier export of this round, whose tree may still be out
            key = read_manifest(latest).export
            for file in (latest, folder / "before.txt", folder / "after.txt"):
                if file.is_file():
                    file.rename(_renamed(file, key))
        write_manifest(manifest, latest)
        write_lines(folder / "before.txt", [file.path for file in manifest.files])

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

    def _refuse_inside_dataset(self, path: Path) -> None:
        if path.resolve().is_relative_to(self.dataset.resolve()):
            raise UsageError(
                f"{path} lies inside the dataset, which dupekit never writes to.",
                hint="Name a folder elsewhere.",
            )

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


def _refuse_other_plan(plan: Plan, settings: Settings, choices: dict[str, Any], number: int) -> None:
    """Raises UsageError where this call asks for something else than the round was begun with."""
    asked: dict[str, tuple[Any, Any]] = {
        "trainer": (pipeline.choose_trainer(settings.trainer), plan.trainer.name),
        "validator": (settings.validator, plan.validator.name),
        "seed": (settings.seed, plan.seed),
        "split": (settings.split, plan.split),
        "class_min": (settings.class_min, plan.class_min),
    }
    if choices.get("options"):
        wanted = pipeline.make_plan(settings)
        asked["options"] = (
            (wanted.trainer.options, wanted.validator.options),
            (plan.trainer.options, plan.validator.options),
        )
    for name, (wanted_value, begun_with) in asked.items():
        if choices.get(name) is not None and wanted_value != begun_with:
            raise UsageError(
                f"Round {number} was begun with {name} {begun_with}, not {wanted_value}; all runs of a round"
                " are alike.",
                hint="Leave the option out to go on, or begin another round with `dupekit next`.",
            )


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


def _say_overruled(overruled: Sequence[tuple[Verdict, str, str]]) -> list[str]:
    if not overruled:
        return []
    _, tree, at = max(overruled, key=lambda one: one[2])
    count = len(overruled)
    return [
        f"{count} {'verdicts of this tree do' if count > 1 else 'verdict of this tree does'} not count: of an image"
        f" the latest decision does, and {tree}, collected on {at}, says otherwise. Only what has changed in a tree"
        " since it was collected is a new decision. `dupekit undo` takes the last collect back."
    ]


def _renamed(file: Path, export: str) -> Path:
    return file.with_name(f"{file.stem}.{export[:8]}{file.suffix}")


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # no such user, as in some containers
        return platform.node()
