"""Train: what is missing of the current round is run, and the votes are counted.

It can be interrupted at any point and called again: what is finished is taken up from the job folders, what is not is
done.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from dupekit.errors import DupekitError, JobError
from dupekit.jobs.failure import Named
from dupekit.jobs.files import finished
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.ledger import Ledger, rounds
from dupekit.ledger.images import ClassSize
from dupekit.ledger.rounds import Run, RunState
from dupekit.plugin.contract import EXECUTORS
from dupekit.rounds.chance import near_chance
from dupekit.system.progress import Progress, stage
from dupekit.workflow.execute import outcomes
from dupekit.workflow.ingest import count_votes, ingest
from dupekit.workflow.plan import Choices, Work, find_work, make_executor
from dupekit.workflow.session import Session

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


def train(
    session: Session, choices: Choices, listener: Listener, *, dry_run: bool, keep_models: bool
) -> Trained:
    """Begins a round or goes on with it; `session.settings` are those with the choices.

    Raises as `find_work`. Failed runs are in the result.
    """
    with stage(listener.progress, "preparing the round"):
        work = find_work(session, choices, listener.progress)
    report = _planned(session, work)
    if dry_run:
        return report
    ledger, folder = session.ledger, work.folder
    with stage(listener.progress, "preparing the round"):
        _begin(ledger, work)
    listener.begun(report)
    try:
        _execute(session, work, listener, keep_models=keep_models)
    except BaseException:
        with contextlib.suppress(DupekitError):  # what is done counts; why it ended is what to say
            count_votes(ledger, folder, listener.progress)
        raise
    count_votes(ledger, folder, listener.progress)
    runs = rounds.runs(ledger, folder.number)
    agreements = [run.agreement for run in runs if run.agreement is not None]
    return replace(
        report,
        failed=[run for run in runs if run.state is RunState.FAILED],
        left=[run.name for run in runs if run.state not in (RunState.DONE, RunState.FAILED)],
        agreement=sum(agreements) / len(agreements) if agreements else None,
    )


def _planned(session: Session, work: Work) -> Trained:
    settings = session.settings
    return Trained(
        round=work.folder.number,
        begun=work.begins,
        plan=work.plan,
        chosen=work.begins and settings.trainer == "auto",
        executor=settings.executor,
        device=settings.device,
        images=len(work.of_round.ids),
        classes=len(work.of_round.classes),
        pairs=work.pairs,
        todo=work.todo,
        failed=[],
        left=[],
        not_assessable=work.not_assessable,
        agreement=None,
        chance=max(Counter(work.of_round.labels).values()) / len(work.of_round.labels),
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
        pairs=work.pairs,
        images=len(work.of_round.ids),
        plan=work.plan.model_dump_json(),
    )


def _execute(session: Session, work: Work, listener: Listener, *, keep_models: bool) -> None:
    """Does what is missing of a round and records each run as it ends."""
    ledger, folder, settings = session.ledger, work.folder, session.settings
    runs = rounds.runs(ledger, folder.number)
    for pair in {run.pair for run in runs}:
        folder.write_split(pair, work.plan)
    # What is recorded and then lost its files is done again: votes are counted from the files.
    todo = [
        run for run in runs if run.state is not RunState.DONE or not finished(folder.run(run.pair, run.half))
    ]
    # What a killed dupekit, or a cluster meanwhile, has finished is taken up first.
    with stage(listener.progress, "preparing the runs"):
        todo = [run for run in todo if not _taken_up(ledger, folder, run)]
    if not todo:
        return
    executor, options = make_executor(settings)
    jobs = [
        folder.prepare(
            run.pair,
            run.half,
            work.plan,
            device=settings.device,
            max_pixels=settings.max_pixels,
            keep_model=keep_models,
        )
        for run in todo
    ]
    by_folder = {job.folder: run for job, run in zip(jobs, todo, strict=True)}
    named = Named(EXECUTORS, settings.executor, executor)
    with contextlib.closing(outcomes(named, jobs, options, listener.progress)) as ended:
        for outcome in ended:
            run = by_folder[outcome.job.folder]
            with stage(listener.progress, "recording"):
                error = outcome.error or _error_of(ledger, folder, run)
            if error:
                rounds.record_failed(ledger, run.number, error=error)
            listener.ended(rounds.run(ledger, run.number))


def _taken_up(ledger: Ledger, folder: RoundFolder, run: rounds.Run) -> bool:
    try:
        return ingest(ledger, folder, run)
    except JobError as error:  # what lies there is not its own: of another project, half copied, edited
        _log.warning("%s is done again: %s", run.name, error.message)
        return False


def _error_of(ledger: Ledger, folder: RoundFolder, run: rounds.Run) -> str | None:
    """Records a run that an executor calls done; why that cannot be."""
    try:
        return None if ingest(ledger, folder, run) else "It left no result."
    except JobError as error:
        return error.message
