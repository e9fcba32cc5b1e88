"""`dupekit train`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dupekit.cli import train_options as options
from dupekit.cli.class_view import show_view
from dupekit.cli.output import (
    JsonOption,
    ProjectOption,
    counted,
    open_project,
    print_json,
    say,
    warn,
    write,
)
from dupekit.cli.progress_bars import progress_bars, stop_bars
from dupekit.cli.tables import Toned, names, numbers, table, texts
from dupekit.cli.terminal import Tone
from dupekit.rounds.in_words import percent, stability_in_words

if TYPE_CHECKING:
    from dupekit.ledger.rounds import Run
    from dupekit.project import Project
    from dupekit.rounds.stability import Stability
    from dupekit.system.progress import Progress
    from dupekit.workflow.plan import Choices
    from dupekit.workflow.train import Manner, Trained


def train(
    project: ProjectOption = None,
    pairs: options.Pairs = None,
    stage: options.Stage = None,
    until_stable: options.UntilStable = False,
    trainer: options.Trainer = None,
    validator: options.Validator = None,
    executor: options.Executor = None,
    device: options.Device = None,
    seed: options.Seed = None,
    setting: options.Set = None,
    split: options.Split = None,
    class_min: options.ClassMin = None,
    class_max: options.ClassMax = None,
    class_config: options.ClassConfig = None,
    class_column: options.ClassColumn = None,
    keep_models: Annotated[bool, typer.Option(help="Keep each run's model file.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and what would be submitted.")
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="Submit the trainings and return. `dupekit train` takes up what they leave."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Runs what is missing of a round; run again to go on."""
    from dupekit.workflow.plan import Choices
    from dupekit.workflow.train import Manner

    choices = Choices(
        pairs=pairs,
        trainer=trainer,
        validator=validator,
        executor=executor,
        device=device,
        seed=seed,
        split=split,
        class_min=class_min,
        class_max=class_max,
        class_config=class_config,
        class_column=class_column,
        stage=stage,
        options=parse_options(setting) if setting else None,
    )
    manner = Manner(dry_run=dry_run, keep_models=keep_models, until_stable=until_stable, detach=detach)
    opened = open_project(project)
    done = _train(opened, choices, manner, plan=not json)
    if pairs is not None and pairs < done.pairs:
        warn(f"Round {done.round} has {done.pairs} pairs already: --pairs adds some, and takes none away.")
    if json:
        print_json(done)
    elif dry_run:
        show_to_do(done)
    else:
        show_end(done, opened)
    if done.failed or done.left or (done.waiting and not done.submitted):
        raise typer.Exit(1)


def _train(project: Project, choices: Choices, manner: Manner, *, plan: bool) -> Trained:
    """Trains, and shows how far it is; the plan only with `plan`."""
    left = False

    def leaves() -> bool:
        nonlocal left
        stop_bars(progress)
        left = _asked_to_leave()
        return left

    with progress_bars() as progress:
        shown = _Shown(progress, plan=plan)
        try:
            done = project.train(
                choices,
                dry_run=manner.dry_run,
                keep_models=manner.keep_models,
                until_stable=manner.until_stable,
                detach=manner.detach,
                progress=progress,
                begun=shown.begun,
                ended=shown.ended,
                leaves=leaves,
            )
            shown.tell()
            return done
        except KeyboardInterrupt:
            said = "Interrupted; finished runs are recorded."
            if left:
                said += " The others go on: `dupekit status` says how far they are."
            warn(f"{said} The same command goes on from there.", tone=None)
            raise typer.Exit(130) from None


def _asked_to_leave() -> bool:
    """Whether what was submitted shall go on: a person is asked, and to say nothing is yes; a script's runs end with it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return typer.confirm("\nLet the submitted runs go on without dupekit?", default=True, err=True)
    except typer.Abort:
        return True


class _Shown:
    """What is shown while runs are done: the plan, a bar of the runs, each error once."""

    def __init__(self, progress: Progress, *, plan: bool) -> None:
        self.progress = progress
        self.plan = plan
        self.total = 0
        self.runs: list[Run] = []

    def begun(self, plan: Trained) -> None:
        self.total = len(plan.todo)
        if self.plan:
            show_plan(plan)
        self.tell()

    def ended(self, run: Run) -> None:
        if run.error and run.error not in {earlier.error for earlier in self.runs}:
            warn(f"{run.name}: {run.error}")  # what is wrong with one is often wrong with all
        self.runs.append(run)
        self.tell()

    def tell(self) -> None:
        agreements = [run.agreement for run in self.runs if run.agreement is not None]
        mean = {"agreement": sum(agreements) / len(agreements)} if agreements else {}
        if self.total:
            self.progress("runs", len(self.runs), self.total, **mean)


def parse_options(settings: list[str]) -> dict[str, Any]:
    """The options that `--set` gave. Raises OptionError for one that is not KEY=VALUE."""
    from dupekit.errors import OptionError

    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise OptionError(f"--set {setting!r} is not KEY=VALUE.", hint="As in --set epochs=20")
        options[key] = value
    return options


def show_to_do(plan: Trained) -> None:
    show_plan(plan)
    most = ", at most" if plan.until_stable and plan.todo else ""
    say(f"To do{most}: {' '.join(plan.todo) or 'nothing'}")
    if plan.scripts:
        write(sys.stdout, f"\n{plan.scripts}")  # to be copied: in lines as they are


def show_plan(plan: Trained) -> None:
    chosen = " (chosen by device and number of images)" if plan.chosen else ""
    say(
        f"Round {plan.round}: {counted(plan.images, 'image')} in {plan.classes} classes, {counted(plan.pairs, 'pair')},"
        f" {counted(len(plan.todo), 'run')} to do.\n"
        f"Trainer {plan.plan.trainer.name}{chosen}, validator {plan.plan.validator.name}, executor {plan.executor},"
        f" device {plan.device}, seed {plan.plan.seed}, split {plan.plan.split}."
    )
    if plan.plan.view:
        show_view(plan.plan.view)
    if plan.plan.class_max is not None:
        say(f"Each training sees at most {counted(plan.plan.class_max, 'image')} of a class.")
    first = plan.plan.first_stage
    if first is not None:
        earlier = "pair 1" if first == 1 else f"the first {first} pairs"
        say(
            f"Second stage: from pair {first + 1} on, each image counts as far as the models of {earlier} held its label"
            " for right."
        )
    if plan.until_stable:
        from dupekit.rounds.stability import STABLE

        say(f"It stops as soon as a further pair changes less than {percent(STABLE)} of the list.")
    if plan.not_assessable:
        rows = [(size.name, size.different) for size in plan.not_assessable]
        table(
            "Not assessable: too few different images to be split",
            [names("class"), numbers("different images")],
            rows,
        )


def show_end(done: Trained, project: Project) -> None:
    from dupekit.workflow.submitted import train_by

    again = train_by(done.executor, project.settings.executor)
    if done.failed:
        by_error: dict[str, list[str]] = {}
        for run in done.failed:
            by_error.setdefault(run.error or "", []).append(run.name)
        rows = [(" ".join(failed), Toned(error, Tone.BAD)) for error, failed in by_error.items()]
        table("Failed; `dupekit train` tries them again", [texts("runs"), texts("error")], rows)
    agreement = percent(done.agreement, 1) if done.agreement is not None else "-"
    missing = len(done.failed) + len(done.left) + len(done.waiting) + len(done.submitted)
    runs = f"Round {done.round}: {done.pairs * 2 - missing} of {done.pairs * 2} runs are done"
    if done.left:
        say(
            f"{len(done.left)} of {counted(done.pairs * 2, 'run')} were not done: the executor {done.executor} ended without"
            " them."
        )
    if done.waiting:
        say(
            f"{counted(len(done.waiting), 'run')} of the second stage {'was' if len(done.waiting) == 1 else 'were'} not begun:"
            f" their weights come from all of the first {counted(done.plan.first_stage or 0, 'pair')}, and not every run of"
            " these is done."
        )
    if done.submitted:
        number = len(done.submitted)
        say(
            f"{runs}, {number} {'is' if number == 1 else 'are'} submitted.\n"
            f"They go on without dupekit. `dupekit status` says how far they are; `{again}` takes up what is done,"
            " and waits for the others."
        )
    elif missing:
        say(f"{runs}.\nNext: {again}", tone=Tone.BAD)
    elif done.near_chance:
        say(
            f"{runs}, but the models agree with only {agreement} of the given labels, where naming the largest class every"
            f" time would agree with {percent(done.chance, 1)}: they have learnt next to nothing, and what `dupekit flag` shows would"
            " mean little. Look at some images of each class, and try another trainer, or more epochs.",
            tone=Tone.WARNING,
        )
    else:
        say(f"{runs}; the models agree with {agreement} of the given labels.", tone=Tone.GOOD)
    if not missing and done.until_stable and done.stability:
        say(_how_stable(done, done.stability))
    if not missing and not done.near_chance:
        say(str(project.advice()))


def _how_stable(done: Trained, found: Stability) -> str:
    from dupekit.rounds.stability import is_stable

    planned = done.pairs + len(done.skipped)
    if done.skipped:
        first = done.skipped[0]
        which = f"pair {first} was" if len(done.skipped) == 1 else f"pairs {first} to {planned} were"
        return (
            f"The list is stable: {stability_in_words(found)}. So {which} skipped; `dupekit train --pairs {planned}` trains"
            " them all the same."
        )
    if is_stable(found, pairs=done.pairs):
        return f"The list is stable: {stability_in_words(found)}. Nothing was skipped."
    return f"The list is not stable yet: {stability_in_words(found)}. `dupekit train --pairs {min(planned + 2, 99)} --until-stable` goes on."
