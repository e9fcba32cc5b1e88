"""The stages in order, recorded in the ledger: scan, plan a round, train what is missing, tally.

Everything can be interrupted at any point and called again: what is finished is taken up from the job
folders, what is not is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dupekit.dataset.scan import File, list_dataset, read_files
from dupekit.errors import DatasetChanged, DatasetError, UsageError
from dupekit.files.names import escape, sort_key
from dupekit.jobs.files import Choice, RoundFile, finished
from dupekit.ledger import Ledger, images, rounds
from dupekit.plugin.contract import EXECUTORS, TRAINERS, VALIDATORS, Executor
from dupekit.plugin.registry import as_values, load, options_for
from dupekit.settings import Settings
from dupekit.system.devices import cuda_devices
from dupekit.system.progress import Progress
from dupekit.workflow.runs import Plan, RoundFolder

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found."""

    images: int
    """Readable."""
    classes: list[tuple[str, int]]
    """Class and its readable images."""
    read: int
    """Files whose content was read, because they are new or changed, or all were to be."""
    changed: int
    """Files that were known, and have another content than before."""
    gone: int
    problems: list[tuple[str, str]]
    """Path and problem of images that take no part."""
    skipped: list[tuple[str, str]]
    """Path and reason of what is not part of the dataset."""
    other_files: int
    """Files below the classes that have no image's extension."""
    not_assessable: list[tuple[str, int]]
    """Classes with too few different images to be split, and how many they have."""


def scan(
    ledger: Ledger, dataset: Path, settings: Settings, progress: Progress, *, every: bool = False
) -> Scan:
    """Brings the ledger up to date with the dataset; reads only what is new or changed, or `every` file."""
    listing = list_dataset(dataset, follow_symlinks=settings.follow_symlinks)
    known = images.known_files(ledger, max_pixels=settings.max_pixels)
    changed, gone = _differences(known, listing.files)
    if every:
        changed = listing.files
    images.record_classes(ledger, listing.classes)
    other = 0
    contents = iter(read_files(dataset, changed, max_pixels=settings.max_pixels))
    for start in range(0, len(changed), 4096):  # a killed scan goes on where it was
        some = list(_counted(islice(contents, 4096), progress, "scanning", start, len(changed)))
        before = images.digests(ledger, [c.file.path for c in some if c.file.path in known])
        other += sum(before.get(c.file.path, c.digest) != c.digest for c in some if c.digest)
        images.record_contents(ledger, some)
    if changed:
        progress("scanning", len(changed), len(changed))
    images.record_gone(ledger, gone)
    present = set(listing.classes)
    sizes = [row for row in images.class_sizes(ledger) if row[0] in present]
    return Scan(
        images=sum(count for _, count, _ in sizes),
        classes=[(name, count) for name, count, _ in sizes],
        read=len(changed),
        changed=other,
        gone=len(gone),
        problems=images.problems(ledger),
        skipped=listing.skipped,
        other_files=listing.other_files,
        not_assessable=[(name, different) for name, _, different in sizes if different < settings.class_min],
    )


def require_unchanged(ledger: Ledger, dataset: Path, settings: Settings) -> None:
    """Raises DatasetChanged where the dataset's files are not those of the last scan, by size and time."""
    listing = list_dataset(dataset, follow_symlinks=settings.follow_symlinks)
    known = images.known_files(ledger, max_pixels=settings.max_pixels)
    changed, gone = _differences(known, listing.files)
    # What could not be read takes no part; it does not hold up the rest.
    changed = [file for file in changed if known.get(file.path, (0, 0))[1] != images.UNREAD]
    if changed or gone:
        example = changed[0].path if changed else gone[0]
        raise DatasetChanged(
            f"The dataset changed since the last scan: {len(changed)} files new or changed, {len(gone)} gone"
            f" (for example {example}).",
            hint="Run `dupekit scan` first.",
        )


def assess(ledger: Ledger, dataset: Path, *, class_min: int) -> RoundFile:
    """The images that a round can assess: those of classes with `class_min` images of different content,
    since equal images cannot be in both halves.

    Raises DatasetError where fewer than two classes are left.
    """
    columns = images.readable(ledger)
    sizes = images.class_sizes(ledger)
    classes = sorted((name for name, _, different in sizes if different >= class_min), key=sort_key)
    if len(classes) < 2:
        raise DatasetError(
            f"Only {len(classes)} classes have at least {class_min} different readable images; two are needed.",
            hint="Look at the problems that `dupekit scan` reports, or lower --class-min.",
        )
    number = {label: i for i, label in enumerate(classes)}
    rows = [i for i, label in enumerate(columns.labels) if label in number]
    return RoundFile(
        dataset=escape(str(dataset)),
        classes=classes,
        ids=columns.ids[rows].tolist(),
        paths=[columns.paths[i] for i in rows],
        digests=[columns.digests[i] for i in rows],
        sizes=columns.sizes[rows].tolist(),
        labels=[number[columns.labels[i]] for i in rows],
    )


def choose_trainer(name: str) -> str:
    """The trainer of this name; for "auto" torch where there is a CUDA device, else probe."""
    if name != "auto":
        return name
    return "torch" if cuda_devices() else "probe"


def make_plan(settings: Settings) -> Plan:
    """Loads and checks what a round will use, so that a wrong name or option shows before anything starts.

    Raises UsageError, OptionError or PluginError.
    """
    trainer_name = choose_trainer(settings.trainer)
    own, of_validator, _ = split_options(settings.options)
    trainer = load(TRAINERS, trainer_name)
    validator = load(VALIDATORS, settings.validator)
    if trainer.produces not in validator.accepts:
        raise UsageError(
            f"The validator {settings.validator!r} cannot read what the trainer {trainer_name!r} makes:"
            f" {trainer.produces!r} is not among {', '.join(sorted(validator.accepts))}.",
            hint="Name a validator that does with --validator; `dupekit plugins list` shows them.",
        )
    return Plan(
        trainer=Choice(name=trainer_name, options=as_values(options_for(trainer, own))),
        validator=Choice(name=settings.validator, options=as_values(options_for(validator, of_validator))),
        seed=settings.seed,
        split=settings.split,
        class_min=settings.class_min,
    )


def make_executor(settings: Settings) -> tuple[Executor[Any], Any]:
    """The executor and its options. Raises UsageError, OptionError or PluginError."""
    executor: Executor[Any] = load(EXECUTORS, settings.executor)()
    return executor, options_for(executor, split_options(settings.options)[2])


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The options of the trainer, of the validator ("validator.x") and of the executor ("executor.x")."""
    trainer: dict[str, Any] = {}
    others: dict[str, dict[str, Any]] = {"validator": {}, "executor": {}}
    for name, value in options.items():
        owner, dot, rest = name.partition(".")
        if dot and owner in others:
            others[owner][rest] = value
        elif isinstance(value, dict) and name in others:  # a table in dupekit.toml
            others[name].update(value)
        else:
            trainer[name] = value
    return trainer, others["validator"], others["executor"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a training has to do: a round to begin, or what is missing of the one that was begun."""

    folder: RoundFolder
    plan: Plan
    of_round: RoundFile
    begins: bool
    pairs: int
    """Planned, all together."""
    done: frozenset[str]
    """Names of the runs that are done, recorded or not."""
    not_assessable: list[tuple[str, int]]


def find_work(ledger: Ledger, project: Path, dataset: Path, settings: Settings, *, pairs: int | None) -> Work:
    """Plans the next round, or what is missing of the one that was begun. Writes nothing.

    Raises DatasetChanged where a round would begin on another dataset than the last scan saw.
    """
    make_executor(settings)
    found = rounds.latest(ledger)
    if found is not None and found.closed is None:
        plan = Plan.model_validate_json(found.plan)
        folder = RoundFolder(project, found.number)
        runs = rounds.runs(ledger, found.number)
        done = {run.name for run in runs if finished(folder.job_folder(run))}
        planned = max(pairs or 0, found.pairs)
        return Work(
            folder, plan, folder.of_round, False, planned, frozenset(done), _too_small(ledger, plan.class_min)
        )
    require_unchanged(ledger, dataset, settings)
    plan = make_plan(settings)
    of_round = assess(ledger, dataset, class_min=plan.class_min)
    folder = RoundFolder(project, found.number + 1 if found else 1)
    small = _too_small(ledger, plan.class_min)
    return Work(folder, plan, of_round, True, pairs or settings.pairs, frozenset(), small)


def begin(ledger: Ledger, work: Work) -> None:
    """Records a round's beginning, or that it has more pairs now."""
    if not work.begins:
        rounds.extend(ledger, work.folder.number, pairs=work.pairs)
        return
    work.folder.create(work.of_round)
    rounds.begin(
        ledger,
        number=work.folder.number,
        dataset=work.of_round.dataset,
        pairs=work.pairs,
        images=len(work.of_round.ids),
        plan=work.plan.model_dump_json(),
    )


def execute(
    ledger: Ledger,
    work: Work,
    settings: Settings,
    *,
    keep_models: bool,
    progress: Progress,
    ended: Callable[[rounds.Run], None],
) -> None:
    """Does what is missing of a round and records each run as it ends; `ended` is told of each."""
    folder = work.folder
    runs = rounds.runs(ledger, folder.number)
    # What is recorded and then lost its files is done again: votes are counted from the files.
    todo = [run for run in runs if run.state != "done" or not finished(folder.job_folder(run))]
    # What a killed dupekit, or a cluster meanwhile, has finished is taken up first.
    todo = [run for run in todo if not folder.ingest(ledger, run)]
    if not todo:
        return
    by_name = {run.name: run for run in todo}
    executor, options = make_executor(settings)
    jobs = [folder.prepare(run, work.plan, settings, keep_models=keep_models) for run in todo]
    outcomes = executor.run(jobs, options, progress)
    try:
        for outcome in outcomes:
            run = by_name[outcome.job.name]
            if outcome.error or not folder.ingest(ledger, run):
                rounds.record_failed(ledger, run.number, error=outcome.error or "It left no result.")
            ended(next(r for r in rounds.runs(ledger, folder.number) if r.number == run.number))
    finally:
        outcomes.close()


def _differences(known: Mapping[str, tuple[int, int]], files: Sequence[File]) -> tuple[list[File], list[str]]:
    """The files that are new or changed, and the paths that are gone."""
    changed = [file for file in files if known.get(file.path) != (file.size, file.mtime_ns)]
    there = {file.path for file in files}
    return changed, [path for path in known if path not in there]


def _too_small(ledger: Ledger, class_min: int) -> list[tuple[str, int]]:
    """Classes with images, but fewer than `class_min` different ones."""
    sizes = images.class_sizes(ledger)
    return [(name, different) for name, count, different in sizes if count and different < class_min]


def _counted(items: Iterable[_T], progress: Progress, stage: str, start: int, total: int) -> Iterator[_T]:
    for done, item in enumerate(items, start):
        if done % 64 == 0:
            progress(stage, done, total)
        yield item
