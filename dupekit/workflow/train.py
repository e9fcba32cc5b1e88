"""Train: what is missing of the current round is run, and the votes are counted.

It can be interrupted at any point and called again: what is finished is taken up from the job folders, what is not is
done.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dupekit.errors import DupekitError, JobError, UsageError
from dupekit.jobs.files import Half, run_name
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.jobs.predictions import finished
from dupekit.jobs.under_way import UnderWay
from dupekit.ledger import Ledger, rounds
from dupekit.ledger.images import ClassSize
from dupekit.ledger.rounds import Run, RunState
from dupekit.plugin.contract import TRAINERS, Job, Prepares
from dupekit.plugin.registry import load_tried
from dupekit.rounds.chance import near_chance
from dupekit.rounds.stability import Stability, is_stable
from dupekit.rounds.stages import batches
from dupekit.system.progress import Progress, stage
from dupekit.workflow.executing import Execution, call_back, preview, require_detaches, require_places
from dupekit.workflow.groups import with_groups
from dupekit.workflow.ingest import count_votes, ingest
from dupekit.workflow.plan import AUTO, Choices, Work, find_work
from dupekit.workflow.session import Session
from dupekit.workflow.weights import ensure_weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trained:
    """What `train` did, or with `dry_run` would do."""

    round: int
    begun: bool
    """Whether this call began the round."""
    plan: Plan
    chosen: bool
    """Whether the trainer was chosen by the machine, not named."""
    executor: str
    device: str
    images: int
    classes: int
    pairs: int
    """Planned."""
    todo: list[str]
    """Runs that were missing when it began."""
    failed: list[Run]
    left: list[str]
    """Runs that are neither done nor failed: of these the executor said nothing."""
    waiting: list[str]
    """Runs of the second stage that were not begun, for the first is not complete."""
    submitted: list[str]
    """Runs that the executor has queued or at work, and that nobody waited for."""
    scripts: str | None
    """With `dry_run`: what the executor would submit; None where it does not say."""
    until_stable: bool
    """Whether it was to stop when the list is stable."""
    skipped: list[int]
    """Pairs that were planned, and are no more, because it is."""
    stability: Stability | None
    """What the last pair changed; None below two complete pairs."""
    not_assessable: list[ClassSize]
    agreement: float | None
    """Mean over the round's runs of the share of predictions in which the given label is more probable than every other class."""
    chance: float
    """What naming the largest class every time would agree with."""

    @property
    def near_chance(self) -> bool:
        """Whether the models have learnt next to nothing."""
        return self.agreement is not None and near_chance(self.agreement, self.chance)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told while a training goes on."""

    progress: Progress
    begun: Callable[[Trained], None] = lambda _: None
    """Of the plan, before the first run starts."""
    ended: Callable[[Run], None] = lambda _: None
    """Of each run that ends."""
    leaves: Callable[[], bool] = lambda: False
    """Asked at Ctrl-C: whether what was submitted, and can go on without dupekit, shall go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What a call wants of `train` that is nothing of the round."""

    dry_run: bool = False
    keep_models: bool = False
    until_stable: bool = False
    detach: bool = False


def train(session: Session, choices: Choices, listener: Listener, manner: Manner) -> Trained:
    """Begins a round or goes on with it; `session.settings` are those with the choices.

    With `until_stable` it stops where a further pair hardly changes the list, and plans the round's other pairs no more. With
    `detach` it submits what can be, and waits for nothing. Raises UsageError where the executor cannot do that, and as
    `require_places`, `find_work` and `with_groups`. Failed runs are in the result.
    """
    until_stable = manner.until_stable
    if manner.detach:
        _require_detaching(session.settings.executor, until_stable=until_stable)
    with stage(listener.progress, "preparing the round"):
        work = find_work(session, choices, listener.progress)
    if work.todo:
        require_places(session.settings)
    if manner.dry_run:
        begun = 0 if work.begins else _begun(session.ledger, work.folder)
        jobs = _first_jobs(work, begun=begun, until_stable=until_stable)
        planned = _planned(session, work, until_stable=until_stable)
        return replace(planned, scripts=preview(session.settings, jobs))
    work = with_groups(session, work, listener.progress)
    report = _planned(session, work, until_stable=until_stable)
    ledger, folder = session.ledger, work.folder
    with stage(listener.progress, "preparing the round"):
        if work.begins:
            call_back(UnderWay(folder))  # of the round that is begun anew
        _begin(ledger, work)
    listener.begun(report)
    try:
        _execute(session, work, listener, manner)
    except BaseException:
        with contextlib.suppress(DupekitError):  # what is done counts; why it ended is what to say
            count_votes(ledger, folder, listener.progress)
        raise
    count_votes(ledger, folder, listener.progress)
    return _ended(ledger, work, report, detached=manner.detach)


def _require_detaching(executor: str, *, until_stable: bool) -> None:
    if until_stable:
        raise UsageError(
            "--until-stable looks at the first pairs before it submits more, and with --detach nobody looks.",
            hint="Leave one of them out.",
        )
    require_detaches(executor)


def _ended(ledger: Ledger, work: Work, report: Trained, *, detached: bool) -> Trained:
    under_way = UnderWay(work.folder) if detached else ()
    number, plan = work.folder.number, work.plan
    current, runs = rounds.get(ledger, number), rounds.runs(ledger, number)
    agreements = [run.agreement for run in runs if run.agreement is not None]
    submitted = [run for run in runs if run.name in under_way]
    missing = [run for run in runs if run.state is RunState.PLANNED and run not in submitted]
    first = set(range(1, (plan.first_stage or 0) + 1)) - set(rounds.complete_pairs(ledger, number))
    waiting = [run.name for run in missing if first and plan.is_second_stage(run.pair)]
    return replace(
        report,
        pairs=current.pairs,
        failed=[run for run in runs if run.state is RunState.FAILED and run not in submitted],
        submitted=[run.name for run in submitted],
        left=[run.name for run in missing if run.name not in waiting],
        waiting=waiting,
        skipped=list(range(current.pairs + 1, work.pairs + 1)),
        stability=current.stability,
        agreement=sum(agreements) / len(agreements) if agreements else None,
    )


def _planned(session: Session, work: Work, *, until_stable: bool) -> Trained:
    settings = session.settings
    return Trained(
        round=work.folder.number,
        begun=work.begins,
        plan=work.plan,
        chosen=work.begins and settings.trainer == AUTO,
        executor=settings.executor,
        device=settings.device,
        images=len(work.of_round),
        classes=len(work.of_round.classes),
        pairs=work.pairs,
        todo=work.todo,
        failed=[],
        left=[],
        waiting=[],
        submitted=[],
        scripts=None,
        until_stable=until_stable,
        skipped=[],
        stability=None,
        not_assessable=work.not_assessable,
        agreement=None,
        chance=int(np.bincount(work.of_round.labels).max()) / len(work.of_round),
    )


def _begin(ledger: Ledger, work: Work) -> None:
    """Records a round's beginning, also where it is begun anew, or that it has more pairs now."""
    number = work.folder.number
    if not work.begins:
        rounds.extend(ledger, number, pairs=work.pairs)
        return
    work.folder.create(work.of_round)
    rounds.begin(
        ledger,
        number=number,
        dataset=work.of_round.dataset,
        movable=work.of_round.movable,
        pairs=work.pairs,
        images=len(work.of_round),
        plan=work.plan.model_dump_json(),
    )


def _execute(session: Session, work: Work, listener: Listener, manner: Manner) -> None:
    """Does what is missing of a round, batch by batch, and records each run as it ends; or only has it submitted."""
    ledger, folder, plan = session.ledger, work.folder, work.plan
    runs = rounds.runs(ledger, folder.number)
    for pair in {run.pair for run in runs}:
        folder.write_split(pair, plan)
    # What is recorded and then lost its files is done again: votes are counted from the files.
    todo = [
        run for run in runs if run.state is not RunState.DONE or not finished(folder.run(run.pair, run.half))
    ]
    under_way = UnderWay(folder)
    under_way.remove([run.name for run in runs if run not in todo])  # recorded by a call that was then killed
    # What a killed dupekit, or a cluster meanwhile, has finished is taken up first.
    with stage(listener.progress, "preparing the runs"):
        todo = [run for run in todo if not _taken_up(ledger, folder, run, under_way, listener)]
    if under_way.file and under_way.file.executor != session.settings.executor:
        call_back(under_way)  # two executors would do the same runs
    second = any(plan.is_second_stage(run.pair) for run in runs)
    weighed = second and ensure_weights(ledger, folder, plan, listener.progress)
    planned = batches(
        sorted({run.pair for run in todo}),
        begun=_begun(ledger, folder),
        first_stage=plan.first_stage,
        until_stable=manner.until_stable,
    )
    with contextlib.closing(Execution(session.settings, listener.progress)) as execution:
        for pairs in planned:
            if plan.is_second_stage(pairs[0]) and not weighed:
                weighed = ensure_weights(ledger, folder, plan, listener.progress)
                if not weighed:
                    return
            if manner.until_stable and _stop(
                ledger, folder, plan, before=pairs[0], progress=listener.progress
            ):
                call_back(under_way)  # of a call that was to train them all
                return
            prepares = execution.detaches and _prepares(plan)
            batch = {
                replace(
                    _prepared(session, work, run, under_way, keep_models=manner.keep_models),
                    prepares=prepares,
                ): run
                for run in todo
                if run.pair in pairs
            }
            if execution.detaches:
                _submit(execution, list(batch), under_way, executor=session.settings.executor)
            if not manner.detach:
                _run(execution, batch, under_way, work, session.ledger, listener)


def _first_jobs(work: Work, *, begun: int, until_stable: bool) -> list[Job]:
    """The jobs that would be submitted first; `begun` is the last pair of which a run is done or has failed."""
    todo = [
        (pair, half)
        for pair in range(1, work.pairs + 1)
        for half in Half
        if run_name(pair, half) in work.todo
    ]
    pairs = sorted({pair for pair, _ in todo})
    planned = batches(pairs, begun=begun, first_stage=work.plan.first_stage, until_stable=until_stable)
    first, prepares = planned[0] if planned else [], _prepares(work.plan)
    return [
        Job(run_name(pair, half), work.folder.run(pair, half), prepares)
        for pair, half in todo
        if pair in first
    ]


def _prepares(plan: Plan) -> bool:
    """Whether the trainer can do a part first, for all runs."""
    with contextlib.suppress(DupekitError):  # the runs will say what is wrong with it
        return issubclass(load_tried(TRAINERS, plan.trainer.name), Prepares)
    return False


def _submit(execution: Execution, jobs: list[Job], under_way: UnderWay, *, executor: str) -> None:
    new = [job.name for job in jobs if job.name not in under_way]
    under_way.add([job.name for job in jobs], executor=executor)
    try:
        execution.submit(jobs)
    except BaseException:
        under_way.remove(new)  # the others may be at work
        raise


def _begun(ledger: Ledger, folder: RoundFolder) -> int:
    """The last pair of which a run is done or has failed; 0 where there is none."""
    return max(
        (run.pair for run in rounds.runs(ledger, folder.number) if run.state is not RunState.PLANNED),
        default=0,
    )


def _stop(ledger: Ledger, folder: RoundFolder, plan: Plan, *, before: int, progress: Progress) -> bool:
    """Whether the list is stable before this pair: it and those after it are then planned no more."""
    begun = _begun(ledger, folder)
    if before <= begun:  # what was begun is brought to its end
        return False
    anew = rounds.get(ledger, folder.number).stability is None  # counted by an older dupekit
    pairs = count_votes(ledger, folder, progress, anew=anew)
    of_last_stage = plan.first_stage is None or plan.is_second_stage(begun)
    stable = of_last_stage and is_stable(rounds.get(ledger, folder.number).stability, pairs=pairs)
    if stable:
        rounds.shorten(ledger, folder.number, pairs=begun)
    return stable


def _prepared(session: Session, work: Work, run: Run, under_way: UnderWay, *, keep_models: bool) -> Job:
    settings = session.settings
    return work.folder.prepare(
        run.pair,
        run.half,
        work.plan,
        device=settings.device,
        max_pixels=settings.max_pixels,
        keep_model=keep_models,
        under_way=run.name in under_way,
    )


def _run(
    execution: Execution,
    jobs: dict[Job, Run],
    under_way: UnderWay,
    work: Work,
    ledger: Ledger,
    listener: Listener,
) -> None:
    """Has these jobs done, and records the run of each as it ends."""
    try:
        with contextlib.closing(execution.outcomes(list(jobs))) as outcomes:
            for outcome in outcomes:
                run = jobs[outcome.job]
                with stage(listener.progress, "recording"):
                    error = outcome.error or _error_of(ledger, work.folder, run)
                    if error:
                        rounds.record_failed(ledger, run.number, error=error)
                    under_way.remove([run.name])
                listener.ended(rounds.run(ledger, run.number))
        under_way.remove([job.name for job in jobs])  # of which it said nothing
    except BaseException as error:
        left = [job for job in jobs if job.name in under_way]
        if left and not (isinstance(error, KeyboardInterrupt) and listener.leaves()):
            with contextlib.suppress(DupekitError):  # then they stay under way, and who comes next finds them
                execution.cancel(left)
                under_way.remove([job.name for job in left])
        raise


def _taken_up(
    ledger: Ledger, folder: RoundFolder, run: rounds.Run, under_way: UnderWay, listener: Listener
) -> bool:
    """Whether how it ended stands in its folder, and is recorded now. Of a run that nobody was to wait for a failure counts, too."""
    place = folder.run(run.pair, run.half)
    try:
        done = ingest(ledger, folder, run)
    except JobError as error:  # what lies there is not its own: of another project, half copied, edited
        _log.warning("%s is done again: %s", run.name, error.message)
        under_way.remove([run.name])
        return False
    if not done:
        outcome = Job(run.name, place).outcome() if run.name in under_way else None
        if outcome is None or outcome.error is None:
            return False
        rounds.record_failed(ledger, run.number, error=outcome.error)
        listener.ended(rounds.run(ledger, run.number))
    under_way.remove([run.name])
    return True


def _error_of(ledger: Ledger, folder: RoundFolder, run: rounds.Run) -> str | None:
    """Records a run that an executor calls done; why that cannot be."""
    try:
        return None if ingest(ledger, folder, run) else "It left no result."
    except JobError as error:
        return error.message
