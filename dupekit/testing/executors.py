"""Runs an executor through its contract."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dupekit.api import EXECUTORS, Detaches, Executor, Job, Outcome
from dupekit.jobs.files import JOB, LOG
from dupekit.plugin.contract import PREDICTIONS, RESULT
from dupekit.plugin.registry import close
from dupekit.testing.findings import Broken, Findings, Listener, broken, call, check_class

_T = TypeVar("_T")


def check_executor(
    executor: type[Executor[Any]],
    jobs: Sequence[Job],
    *,
    options: Mapping[str, Any] | None = None,
    timeout_s: float = 120,
) -> None:
    """Runs these jobs, which must be able to succeed, and a broken one; then again, and stops in between.

    Checks that there is one outcome a job, that a broken job.json is an outcome and spoils no other run,
    that no jobs are no outcomes, and that closing the iterator early comes back; of an executor that can go on without dupekit,
    that another instance waits for what was submitted, and that what is cancelled can be done again. Each of the steps
    may take `timeout_s`. What it cannot see: whether everything that was started has ended.
    `dupekit.testing.make_jobs` makes jobs; `options` as `--set executor.NAME=…` would give them.

    Raises PluginError listing every point that is broken; an exception of the plugin is its cause.
    """
    findings = Findings()
    chosen = check_class(findings, EXECUTORS, executor, options)
    with findings.step():
        plugin: Executor[Any] = call(executor, "its constructor", executor)
        impossible = Job("impossible", jobs[0].folder.parent / "impossible")
        impossible.folder.mkdir(exist_ok=True)
        _clear(impossible.folder)
        (impossible.folder / JOB).write_text("{}", encoding="utf-8")
        progress = Listener(findings, executor)

        def everything(some: Sequence[Job]) -> list[Outcome]:
            return list(plugin.run(some, chosen, progress))

        def first_only() -> None:
            outcomes = plugin.run(jobs, chosen, progress)
            next(outcomes)
            outcomes.close()

        with findings.step():
            if _within(executor, "run() of no jobs", timeout_s, lambda: everything([])):
                broken(executor, "run() of no jobs gave outcomes")
        with findings.step():
            given = [*jobs, impossible]
            outcomes = _within(executor, f"run() of {len(given)} jobs", timeout_s, lambda: everything(given))
            _check_outcomes(findings, executor, given, outcomes, impossible)
        if isinstance(plugin, Detaches):
            for job in jobs:
                _clear(job.folder)
            with findings.step():
                what = "submit(), cancel(), submit() and another instance's run()"
                outcomes = _within(
                    executor, what, timeout_s, lambda: _detached(executor, jobs, chosen, progress)
                )
                _check_outcomes(findings, executor, jobs, outcomes, impossible)
        for job in jobs:
            _clear(job.folder)
        with findings.step():  # the last: what it starts may be ending still, and write into these folders
            _within(executor, "closing what run() gave after its first outcome", timeout_s, first_only)
        with findings.step():
            call(executor, "close()", lambda: close(plugin))
    findings.finish()


def _detached(executor: type[Any], jobs: Sequence[Job], options: Any, progress: Listener) -> list[Outcome]:
    first, second = executor(), executor()
    first.submit(jobs, options, progress)
    first.cancel(jobs)
    first.submit(jobs, options, progress)
    close(first)
    outcomes = list(second.run(jobs, options, progress))
    close(second)
    return outcomes


def _check_outcomes(
    findings: Findings,
    executor: type[Executor[Any]],
    jobs: Sequence[Job],
    outcomes: Sequence[Outcome],
    impossible: Job,
) -> None:
    for outcome in outcomes:
        if not isinstance(outcome, Outcome) or outcome.job not in jobs:
            broken(executor, f"run() gave {outcome!r}, not the Outcome of a job that it was given")
    for job in jobs:
        own = [outcome for outcome in outcomes if outcome.job == job]
        if problem := _outcome_problem(job, own, possible=job != impossible):
            findings.add(executor, problem)


def _outcome_problem(job: Job, own: Sequence[Outcome], *, possible: bool) -> str | None:
    if len(own) != 1:
        return f"run() gave {len(own)} outcomes, not one, for the job {job.name!r}"
    error = own[0].error
    if not possible:
        said = isinstance(error, str) and error
        return None if said else "run() says of a job whose job.json is not valid that it was done"
    if error is not None:
        return f"the job {job.name!r} failed, although it can be done: {error}"
    if not all((job.folder / name).is_file() for name in (RESULT, PREDICTIONS)):
        return f"run() says that {job.name!r} is done, but {RESULT} or {PREDICTIONS} is missing"
    return None


def _within(executor: type[Executor[Any]], what: str, timeout_s: float, function: Callable[[], _T]) -> _T:
    """The function's value; Broken where it raises or takes too long.

    In a thread, since a plugin that hangs could not be stopped here."""
    done: queue.SimpleQueue[tuple[_T | None, Broken | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((call(executor, what, function), None))
        except Broken as error:
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = done.get(timeout=timeout_s)
    except queue.Empty:
        broken(executor, f"{what} has not ended after {timeout_s:g} s")
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _clear(folder: Path) -> None:
    for name in (RESULT, PREDICTIONS, LOG):
        (folder / name).unlink(missing_ok=True)
