"""Evaluate: models trained before and after the last correction, on the same images and seeds, compared on the same test images.

It can be interrupted at any point and called again: trainings that are done are kept. Nothing is written to the ledger.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dupekit.errors import JobError, NothingToDo, UsageError
from dupekit.files.lock import exclusive
from dupekit.files.names import escape
from dupekit.files.paths import absolute
from dupekit.jobs.evaluation import (
    EVALUATION,
    Arm,
    ClassFigures,
    Evaluation,
    EvaluationFolder,
    EvaluationPlan,
    Trial,
    evaluations,
)
from dupekit.jobs.files import LOG, write_model
from dupekit.jobs.folder import Plan
from dupekit.ledger import applications, rounds
from dupekit.ledger.applications import Application
from dupekit.ledger.database import understood
from dupekit.rounds import comparison
from dupekit.rounds.fairness import Setting, warnings
from dupekit.settings import Settings
from dupekit.system.progress import Progress, stage
from dupekit.system.stamp import now
from dupekit.workflow.arms import Arms, corrected, read_folder, undisputed, with_folder
from dupekit.workflow.executing import Execution
from dupekit.workflow.groups import ensure_groups
from dupekit.workflow.plan import Choices, as_begun, make_plan, with_trainer
from dupekit.workflow.round_images import ensure_images
from dupekit.workflow.session import Session

SEEDS = 5
"""Fewer tell too little of how much trainings differ by chance."""

_log = logging.getLogger(__name__)

_Predicted = dict[tuple[Arm, int], NDArray[np.int32]]


def evaluate(
    session: Session, choices: Choices, *, test: Path | None, seeds: int, progress: Progress
) -> Evaluation:
    """Trains what is missing, compares, and writes evaluation.json. `session.settings` are those with the choices.

    Raises NothingToDo where no corrected dataset was written, or none with another label, or too few images are undisputed;
    UsageError for fewer than five seeds and a test folder that cannot serve; JobError where a training fails.
    """
    if seeds < SEEDS:
        raise UsageError(
            f"{seeds} trainings are too few to tell how much they differ by chance.",
            hint=f"Ask for {SEEDS} or more: --seeds {SEEDS}",
        )
    with stage(progress, "preparing the evaluation"):
        application = _last(session)
        home = session.folder(application.round).path / "evaluation"
        home.mkdir(exist_ok=True)
    with exclusive(home / "lock", "evaluate"):
        found = _arms(session, application, choices, test, progress)
        folder = EvaluationFolder(home.parent, found.trial)
        predicted = _predictions(session.settings, folder, seeds, progress)
        with stage(progress, "comparing"):
            evaluation = _compared(application, found, predicted, test, seeds)
        write_model(folder.path / EVALUATION, evaluation)
    return evaluation


def last_evaluation(session: Session) -> Evaluation | None:
    """The last of the last corrected dataset; None where there is none."""
    application = applications.last(session.ledger)
    if application is None:
        return None
    found = evaluations(session.folder(application.round).path)
    return next((one for one in reversed(found) if one.application == application.number), None)


def _last(session: Session) -> Application:
    found = applications.last(session.ledger)
    if found is None:
        raise NothingToDo(
            "No corrected dataset was written yet: there is nothing to compare.",
            hint="After the review, `dupekit apply DEST` writes one.",
        )
    return found


def _arms(
    session: Session, application: Application, choices: Choices, test: Path | None, progress: Progress
) -> Arms:
    current = rounds.get(session.ledger, application.round)
    round_folder = session.folder(application.round)
    ensure_images(session.ledger, round_folder)
    begun = understood(Plan.model_validate, current.plan)
    ensure_groups(session, round_folder, begun, progress)
    found = corrected(session, application.round, round_folder.of_round, begun.view)
    if begun.imported:  # its models are elsewhere
        chosen = make_plan(with_trainer(session.ledger, session.settings), begun.view)
    else:
        chosen = as_begun(session, begun, choices)
    plan = EvaluationPlan(
        round=application.round,
        trainer=chosen.trainer,
        validator=chosen.validator,
        seed=chosen.seed,
        class_max=chosen.class_max,
    )
    if test is not None:
        return with_folder(found, read_folder(test, session, found, progress), plan)
    with stage(progress, "preparing the evaluation"):
        return undisputed(session, current, found, plan)


def _predictions(settings: Settings, folder: EvaluationFolder, seeds: int, progress: Progress) -> _Predicted:
    """The predictions of all trainings; what is missing is trained. Raises JobError where one fails."""
    wanted = [
        (arm, seed) for arm in Arm for seed in range(1, seeds + 1)
    ]  # so that each arm's are trained as one
    with stage(progress, "preparing the evaluation"):
        folder.create()
        found = {one: predicted for one in wanted if (predicted := _taken_up(folder, one)) is not None}
    todo = [one for one in wanted if one not in found]
    if not todo:
        return found
    jobs = [folder.prepare(*one, device=settings.device, max_pixels=settings.max_pixels) for one in todo]
    errors: dict[str, str] = {}
    progress("trainings", 0, len(todo))
    with (
        contextlib.closing(Execution(settings, progress)) as execution,
        contextlib.closing(execution.outcomes(jobs)) as ended,
    ):
        for count, outcome in enumerate(ended, 1):
            if outcome.error:
                errors[outcome.job.name] = outcome.error
            progress("trainings", count, len(todo))
    for job, one in zip(jobs, todo, strict=True):
        try:
            predicted = folder.predicted(*one)
        except JobError as problem:
            errors[job.name] = problem.message
        else:
            if predicted is None:
                errors.setdefault(job.name, "It left no result.")
            else:
                found[one] = predicted
    if errors:
        name, error = next(iter(errors.items()))
        raise JobError(
            f"{len(errors)} of {len(wanted)} trainings failed. {name}: {error}",
            hint=f"What is done is kept; `dupekit evaluate` tries the rest again. See {folder.path / 'runs' / name / LOG}",
        )
    return found


def _taken_up(folder: EvaluationFolder, one: tuple[Arm, int]) -> NDArray[np.int32] | None:
    try:
        return folder.predicted(*one)
    except JobError as error:  # half copied, or edited
        _log.warning("%s-%02d is done again: %s", *one, error.message)
        return None


def _compared(
    application: Application, found: Arms, predicted: _Predicted, test: Path | None, seeds: int
) -> Evaluation:
    trial, plan = found.trial, found.trial.plan
    before, after = (_of_tested(trial, arm, predicted, seeds) for arm in Arm)
    setting = Setting(
        classes=trial.classes,
        images_before=found.sizes[Arm.BEFORE],
        images_after=found.sizes[Arm.AFTER],
        tested=np.bincount(trial.truth, minlength=len(trial.classes)),
        undecided=found.undecided,
        relabelled=found.relabelled,
        expunged=found.expunged,
        overruled=found.overruled,
    )
    return Evaluation(
        round=plan.round,
        application=application.number,
        made=now(),
        original=trial.images[Arm.BEFORE].dataset,
        corrected=application.destination,
        trainer=plan.trainer,
        validator=plan.validator,
        seeds=seeds,
        test=None if test is None else escape(str(absolute(test))),
        tested=len(trial.tested),
        images_before=int(setting.images_before.sum()),
        images_after=int(setting.images_after.sum()),
        kept_out=found.kept_out,
        relabelled=found.relabelled,
        expunged=found.expunged,
        measures=comparison.compare(trial.truth, before, after, overlap=found.overlap, seed=plan.seed),
        classes=_classes(setting, trial.truth, before, after),
        left_out=found.left_out,
        warnings=warnings(setting),
    )


def _of_tested(trial: Trial, arm: Arm, predicted: _Predicted, seeds: int) -> NDArray[np.int32]:
    """What the trainings of an arm predict of the images that count, shape (seeds, tested); -1 where one does not test it."""
    found = np.full((seeds, len(trial.tested)), -1, np.int32)
    for seed in range(1, seeds + 1):
        _, at, of = np.intersect1d(
            trial.tested, trial.held_out(seed), assume_unique=True, return_indices=True
        )
        found[seed - 1, at] = predicted[arm, seed][of]
    return found


def _classes(
    setting: Setting, truth: NDArray[np.integer], before: NDArray[np.integer], after: NDArray[np.integer]
) -> list[ClassFigures]:
    """Those whose recall moved most first; those without test images last."""
    found = comparison.by_class(truth, before, after, n_classes=len(setting.classes))
    figures = [
        ClassFigures(
            name=name,
            tested=int(setting.tested[at]),
            images_before=int(setting.images_before[at]),
            images_after=int(setting.images_after[at]),
            recall_before=_known(found.recall_before[at]),
            recall_after=_known(found.recall_after[at]),
            f1_before=_known(found.f1_before[at]),
            f1_after=_known(found.f1_after[at]),
        )
        for at, name in enumerate(setting.classes)
    ]
    return sorted(figures, key=lambda one: (one.tested == 0, -abs(one.moved), one.name))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
