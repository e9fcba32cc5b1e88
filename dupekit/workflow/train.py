"""Training: what is missing of the current round is run, and the votes are counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dupekit.errors import DupekitError, UsageError
from dupekit.ledger import Ledger, rounds
from dupekit.settings import Settings
from dupekit.system.progress import Progress
from dupekit.workflow import pipeline
from dupekit.workflow.results import Trained
from dupekit.workflow.runs import Plan


def train(
    ledger: Ledger,
    project: Path,
    dataset: Path,
    settings: Settings,
    *,
    choices: dict[str, Any],
    pairs: int | None,
    dry_run: bool,
    keep_models: bool,
    progress: Progress,
    begun: Callable[[Trained], None],
    ended: Callable[[rounds.Run], None],
) -> Trained:
    """As `Project.train`; `settings` are those of dupekit.toml with the `choices` of this call."""
    work = pipeline.find_work(ledger, project, dataset, settings, pairs=pairs)
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
        pipeline.execute(ledger, work, settings, keep_models=keep_models, progress=progress, ended=ended)
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
