"""Plan: what a training has to do, checked before anything starts."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dupekit.errors import DatasetError, UsageError
from dupekit.files.paths import absolute
from dupekit.jobs.files import Choice, Half, run_name
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.jobs.images import RoundImages
from dupekit.jobs.predictions import finished
from dupekit.ledger import Ledger, images, rounds
from dupekit.ledger.database import understood
from dupekit.ledger.images import ClassSize
from dupekit.plugin.contract import EXECUTORS, TRAINERS, VALIDATORS, Executor
from dupekit.plugin.options import as_values, options_for
from dupekit.plugin.registry import fitting, load_tried, make, plugins
from dupekit.rounds.class_view import ClassView, differences
from dupekit.rounds.stages import first_stage_of
from dupekit.settings import FILE, Settings, checked
from dupekit.system.devices import cuda_devices
from dupekit.system.progress import Progress
from dupekit.workflow.class_view import chosen_view
from dupekit.workflow.round_images import ensure_images, round_images
from dupekit.workflow.scan import require_unchanged
from dupekit.workflow.session import Session

AUTO = "auto"

_ALIKE = 0.75
"""From so much on, as difflib measures it, one name is taken for another mistyped."""

_log = logging.getLogger(__name__)

_SETTINGS = ("seed", "split", "class_min", "class_max", "stage", "near_duplicates")
"""Settings that a plan has under the same name."""

MANY = 20_000
"""Images from which on networks trained from scratch judge better than heads on frozen features: they did on CIFAR-10's 50,000 and on
30,336 images of plankton, and not on 2,662."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What one call of `train` wants otherwise than dupekit.toml; None: as it stands there."""

    pairs: int | None = None
    trainer: str | None = None
    validator: str | None = None
    executor: str | None = None
    device: str | None = None
    seed: int | None = None
    split: str | None = None
    class_min: int | None = None
    class_max: int | None = None
    class_config: str | Path | None = None
    """Relative to the current folder. "" or Path(): none, whatever dupekit.toml says."""
    class_column: str | None = None
    stage: int | None = None
    options: dict[str, Any] | None = None
    """Of the trainer; those of the others as "validator.x" and "executor.x". Added to those of dupekit.toml."""

    def made(self) -> dict[str, Any]:
        """Those that are made, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, settings: Settings) -> Settings:
        """The settings with these choices. Raises UsageError naming the first that is wrong."""
        made = self.made()
        if self.options is not None:
            executor = settings.executor if self.executor is None else self.executor
            made["options"] = _options_over(settings.options, self.options, executor)
        if self.class_config is not None:
            none = Path(self.class_config) == Path()
            made["class_config"] = None if none else str(absolute(Path(self.class_config)))
            made = {"class_column": None, **made} if none else made
        return checked({**settings.model_dump(), **made})


@dataclass(frozen=True, slots=True)
class Work:
    """What a training has to do: a round to begin, or what is missing of the one that was begun."""

    folder: RoundFolder
    plan: Plan
    of_round: RoundImages
    begins: bool
    pairs: int
    """Planned, all together."""
    todo: list[str]
    """Names of the runs that are missing."""
    not_assessable: list[ClassSize]


def find_work(session: Session, choices: Choices, progress: Progress) -> Work:
    """Plans the next round, or what is missing of the one that was begun. Writes nothing.

    `session.settings` are those with the choices. Raises DatasetChanged where a round would begin on another dataset
    than the last scan saw, UsageError where the choices contradict the round that was begun and a run of it is done.
    """
    ledger, settings = session.ledger, session.settings
    _require_known_tables(settings)
    options_for(load_tried(EXECUTORS, settings.executor), executor_options(settings))
    found = rounds.latest(ledger)
    if found is None or found.closed is not None:
        plan = make_plan(with_trainer(ledger, settings), chosen_view(session))
        return _begin(session, found.number + 1 if found else 1, plan, progress)
    begun = understood(Plan.model_validate, found.plan)
    if begun.imported:
        raise UsageError(
            f"The predictions of round {found.number} were imported: there is nothing to train in it.",
            hint="Review it, or end it with `dupekit next`: then `dupekit train` begins another round. An import that was cut off,"
            " as `dupekit status` says, is finished by the same `dupekit import-predictions`.",
        )
    plan = as_begun(session, begun, choices)
    folder = session.folder(found.number)
    pairs = max(choices.pairs or 0, found.pairs)
    missing = _missing(folder, pairs)
    ensure_images(ledger, folder)
    if plan != begun:
        succeeded = len(missing) < 2 * pairs or any(
            run.state is rounds.RunState.DONE for run in rounds.runs(ledger, found.number)
        )
        if succeeded:
            raise _contradiction(begun, plan, found.number)
        return _begin(session, found.number, plan, progress)  # anew: nothing is bound by it
    return Work(folder, plan, folder.of_round, False, pairs, missing, _too_small(ledger, plan))


def _begin(session: Session, number: int, plan: Plan, progress: Progress) -> Work:
    require_unchanged(session, progress)
    pairs = session.settings.pairs
    if plan.stage == 2:
        if pairs == 1:
            raise UsageError(
                "Of one pair there is no second stage.", hint="Ask for --pairs 2 or more, or for --stage 1."
            )
        plan = plan.model_copy(update={"first_stage": first_stage_of(pairs)})
    todo = [run_name(pair, half) for pair in range(1, pairs + 1) for half in Half]
    of_round = assess(session, class_min=plan.class_min, view=plan.view)
    small = _too_small(session.ledger, plan)
    return Work(session.folder(number), plan, of_round, True, pairs, todo, small)


def assess(session: Session, *, class_min: int, view: ClassView | None = None) -> RoundImages:
    """The images that a round can assess: those of classes, as they are trained, with `class_min` images of different content,
    since equal images cannot be in both halves.

    Raises DatasetError where fewer than two classes are left.
    """
    sizes = images.class_sizes(session.ledger, view)
    classes = [size.name for size in sizes if size.different >= class_min]
    refuse_few_classes(classes, class_min, view)
    found = images.readable(session.ledger)
    return round_images(session.place, classes, found, view, movable=session.movable)


def refuse_few_classes(classes: Sequence[str], class_min: int, view: ClassView | None) -> None:
    """Raises DatasetError where fewer than two classes can be assessed."""
    if len(classes) < 2:
        trained = ", as the class configuration has them," if view else ""
        raise DatasetError(
            f"Only {len(classes)} classes{trained} have at least {class_min} different readable images; two are needed.",
            hint="Look at the problems that `dupekit scan` reports, or lower --class-min."
            if view is None
            else "Give two or more new names in the table, or lower --class-min.",
        )


def with_trainer(ledger: Ledger, settings: Settings) -> Settings:
    """The settings with the trainer that "auto" means here: torch where there is a CUDA device and images enough, else probe."""
    if settings.trainer != AUTO:
        return settings
    large = cuda_devices() and images.totals(ledger).images >= MANY
    return settings.model_copy(update={"trainer": "torch" if large else "probe"})


def make_plan(settings: Settings, view: ClassView | None) -> Plan:
    """Loads and checks what a round of `settings.pairs` will use, so that a wrong name or option shows before anything starts.

    The trainer is named, not "auto". Raises UsageError, OptionError or PluginError.
    """
    options = split_options(settings.options)
    trainer, validator = load_tried(TRAINERS, settings.trainer), load_tried(VALIDATORS, settings.validator)
    if trainer.produces not in validator.accepts:
        able = list(fitting(VALIDATORS, lambda other: trainer.produces in other.accepts))
        raise UsageError(
            f"The validator {settings.validator!r} cannot read what the trainer {settings.trainer!r} makes:"
            f" models of the format {trainer.produces!r}. It reads {', '.join(map(repr, sorted(validator.accepts)))}.",
            hint=f"Name one that reads them: --validator {' or '.join(able)}."
            if able
            else f"No installed validator reads {trainer.produces!r}: see whether one belongs to that trainer.",
        )
    return Plan(
        trainer=Choice(name=settings.trainer, options=as_values(options_for(trainer, options.trainer))),
        validator=Choice(
            name=settings.validator, options=as_values(options_for(validator, options.validator))
        ),
        seed=settings.seed,
        split=settings.split,
        class_min=settings.class_min,
        class_max=settings.class_max,
        view=view,
        first_stage=first_stage_of(settings.pairs) if settings.stage == 2 else None,
        near_duplicates=settings.near_duplicates,
    )


def as_begun(session: Session, begun: Plan, choices: Choices) -> Plan:
    """The plan of a round as it was begun, with the choices of this call instead of what was chosen then."""
    made, settings = choices.made(), session.settings
    of_view = {"class_config", "class_column"}
    was = {"trainer": begun.trainer.name, "validator": begun.validator.name}
    was |= {name: getattr(begun, name) for name in _SETTINGS}
    if not made.keys() & (was.keys() | of_view | {"options"}):
        return begun
    # "auto" means what was chosen then.
    stays = {name: value for name, value in was.items() if name not in made or made[name] == AUTO}
    settings = settings.model_copy(update=stays)
    same_trainer = settings.trainer == begun.trainer.name
    # The options of a round begun with this trainer stand, in place of those of dupekit.toml.
    options = begun.trainer.options if same_trainer else settings.options
    if settings.validator == begun.validator.name:
        options = {**options, "validator": begun.validator.options}
    view = chosen_view(session) if made.keys() & of_view else begun.view
    plan = make_plan(settings.model_copy(update={"options": {**options, **(choices.options or {})}}), view)
    # More pairs may be asked for than when it was begun.
    return plan.model_copy(update={"first_stage": begun.first_stage}) if plan.stage == begun.stage else plan


def _contradiction(begun: Plan, wanted: Plan, number: int) -> UsageError:
    name = next(name for name in Plan.model_fields if getattr(begun, name) != getattr(wanted, name))
    was, shall = begun.model_dump()[name], wanted.model_dump()[name]
    if name == "view":
        how = differences(begun.view, wanted.view)
    elif name == "first_stage":
        how = f"with stage {begun.stage}, not {wanted.stage}"
    else:
        how = f"with {name} {_said(was, shall)}, not {_said(shall, was)}"
    return UsageError(
        f"Round {number} was begun {how}; all runs of a round are alike.",
        hint="Leave the option out to go on, or begin another round with `dupekit next`.",
    )


def _said(value: Any, other: Any) -> str:
    """A part of a plan in words: a value, or a plugin with those of its options that are not as in the `other`."""
    if value is None:
        return "none"
    if not isinstance(value, dict):
        return str(value)
    if value["name"] != other["name"]:
        return str(value["name"])
    others = other["options"]
    options = [
        f"{name}={option}"
        for name, option in value["options"].items()
        if name not in others or others[name] != option
    ]
    return f"{value['name']} ({', '.join(options)})" if options else str(value["name"])


def make_executor(settings: Settings) -> tuple[Executor[Any], Any]:
    """The executor and its options. Raises UsageError, OptionError or PluginError."""
    executor: Executor[Any] = make(EXECUTORS, settings.executor)
    return executor, options_for(executor, executor_options(settings))


def executor_options(settings: Settings) -> dict[str, Any]:
    """What the settings say for their executor: what is for any, and a table of its own name. Those of others do not count, so that
    a project can hold what a cluster needs and be trained on a workstation."""
    return _for_executor(settings.executor, split_options(settings.options))


def _require_known_tables(settings: Settings) -> None:
    """Raises UsageError for options of an executor that there is not, where its name is hardly another's than the settings' own;
    says so of any other: it may be installed where it is used."""
    known = plugins(EXECUTORS)
    tables = [
        name for name, value in split_options(settings.options).executor.items() if isinstance(value, dict)
    ]
    for name in tables:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
        guess = f" Did you mean {near[0]}?" if near else ""
        said = f"There are options for an executor {name!r}, and no such executor is installed.{guess}"
        if near == [settings.executor]:
            raise UsageError(
                said, hint=f"In {FILE}, call the table [options.executor.{near[0]}], or take it out."
            )
        _log.warning("%s Installed executors: %s.", said, ", ".join(known))


def _for_executor(executor: str, options: Options) -> dict[str, Any]:
    own = options.executor.get(executor)
    for_any = {name: value for name, value in options.executor.items() if not isinstance(value, dict)}
    return for_any | (own if isinstance(own, dict) else {})


def _options_over(options: dict[str, Any], chosen: dict[str, Any], executor: str) -> dict[str, Any]:
    """Options with those of a call, which also count where the file has the executor's own table for them."""
    was, now = split_options(options), split_options(chosen)
    own = _for_executor(executor, was) | _for_executor(executor, now)
    tables = {name: value for name, value in now.executor.items() if isinstance(value, dict)}
    return {
        **was.trainer,
        **now.trainer,
        "validator": was.validator | now.validator,
        "executor": was.executor | tables | {executor: own},
    }


@dataclass(frozen=True, slots=True)
class Options:
    """The setting `options`, by the plugin that each is of."""

    trainer: dict[str, Any]
    validator: dict[str, Any]
    executor: dict[str, Any]


def split_options(options: dict[str, Any]) -> Options:
    """Those named "validator.x" and "executor.x", or in a table of that name, and the trainer's: all others."""
    found = Options({}, {}, {})
    others = {"validator": found.validator, "executor": found.executor}
    for name, value in options.items():
        owner, dot, rest = name.partition(".")
        if dot and owner in others:
            others[owner][rest] = value
        elif isinstance(value, dict) and name in others:  # a table in dupekit.toml
            others[name].update(value)
        else:
            found.trainer[name] = value
    return found


def _missing(folder: RoundFolder, pairs: int) -> list[str]:
    runs = [(pair, half) for pair in range(1, pairs + 1) for half in Half]
    return [run_name(*run) for run in runs if not finished(folder.run(*run))]


def _too_small(ledger: Ledger, plan: Plan) -> list[ClassSize]:
    """Classes, as they are trained, with images, but too few different ones."""
    sizes = images.class_sizes(ledger, plan.view)
    return [size for size in sizes if size.images and size.different < plan.class_min]
