"""Executing: jobs are handed to the executor, and what it gives is checked. It can end nothing of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

from dupekit.errors import DupekitError, UsageError
from dupekit.jobs.failure import Named, explained
from dupekit.jobs.local import LocalExecutor
from dupekit.jobs.under_way import UnderWay
from dupekit.plugin.checks import Breach, CheckedProgress
from dupekit.plugin.contract import EXECUTORS, Detaches, Job, Outcome, Previews
from dupekit.plugin.guard import guarded
from dupekit.plugin.options import options_for
from dupekit.plugin.registry import close, fitting, load_tried, make
from dupekit.rounds.in_words import counted
from dupekit.settings import Settings
from dupekit.system.progress import Progress
from dupekit.workflow.plan import executor_options, make_executor


def require_detaches(name: str) -> None:
    """Raises UsageError where this executor's jobs end with dupekit."""
    if not issubclass(load_tried(EXECUTORS, name), Detaches):
        able = list(fitting(EXECUTORS, lambda other: issubclass(other, Detaches)))
        raise UsageError(
            f"The executor {name!r} cannot go on without dupekit: --detach needs one that can.",
            hint=f"Name it: --executor {' or '.join(able)}. Or leave --detach out."
            if able
            else "Leave --detach out.",
        )


def require_places(settings: Settings) -> None:
    """Raises UsageError where the settings' executor is this machine, and it lacks the GPUs that they name."""
    executor = load_tried(EXECUTORS, settings.executor)
    if issubclass(executor, LocalExecutor):
        executor.places(settings.device, options_for(executor, executor_options(settings)))


def preview(settings: Settings, jobs: list[Job]) -> str | None:
    """What the settings' executor would submit for these jobs; None where it does not say."""
    plugin, options = make_executor(settings)
    executor = Named(EXECUTORS, settings.executor, plugin)
    with _at_work(executor):
        shown = str(plugin.dry_run(jobs, options)) if isinstance(plugin, Previews) else None
        close(plugin)
    return shown


def call_back(under_way: UnderWay) -> None:
    """Has what is under way ended, and returns when it has. Raises UsageError where that cannot be done from here."""
    file = under_way.file
    if file is None:
        return
    try:
        executor = Named(EXECUTORS, file.executor, make(EXECUTORS, file.executor))
        with _at_work(executor):
            executor.plugin.cancel(under_way.jobs())
            close(executor.plugin)
    except DupekitError as error:
        raise UsageError(
            f"{counted(len(file.runs), 'run')} of this round may still be at work by the executor {file.executor!r}:"
            f" {error.message}",
            hint=f"Type it where that executor works, or go on: `dupekit train --executor {file.executor}`, as the round was begun. If"
            f" they have surely ended, delete {under_way.path}",
        ) from error
    under_way.remove(file.runs)


class Execution:
    """One instance of the settings' executor for all runs of a training; made with the first, closed at the end."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = CheckedProgress(progress)
        self._made: tuple[Named, Any] | None = None

    @property
    def detaches(self) -> bool:
        """Whether it can `submit` and `cancel`."""
        return isinstance(self._executor()[0].plugin, Detaches)

    def submit(self, jobs: list[Job]) -> None:
        """Has these jobs queued, so that they go on without this process. Raises as `outcomes`."""
        executor, options = self._executor()
        with _at_work(executor):
            executor.plugin.submit(jobs, options, self._progress)

    def cancel(self, jobs: list[Job]) -> None:
        """Ends what is queued or at work of these. Raises as `outcomes`."""
        executor, _ = self._executor()
        with _at_work(executor):
            executor.plugin.cancel(jobs)

    def _executor(self) -> tuple[Named, Any]:
        if self._made is None:
            plugin, options = make_executor(self._settings)
            self._made = Named(EXECUTORS, self._settings.executor, plugin), options
        return self._made

    def outcomes(self, jobs: list[Job]) -> Generator[Outcome, None, None]:
        """How each ended. Raises PluginError where the executor breaks its contract or fails."""
        executor, options = self._executor()
        given = None
        try:
            with _at_work(executor):
                given = executor.plugin.run(jobs, options, self._progress)
                if not isinstance(given, Iterator):
                    raise Breach(f"run() gave {given!r}, not an iterator of outcomes")
            while True:
                with _at_work(executor):
                    outcome = next(given, None)
                    if outcome is not None and not (isinstance(outcome, Outcome) and outcome.job in jobs):
                        raise Breach(f"run() gave {outcome!r}, not the Outcome of a job that it was given")
                if outcome is None:
                    return
                yield outcome
        finally:
            if isinstance(given, Generator):
                with _at_work(executor):
                    given.close()

    def close(self) -> None:
        if self._made is not None:
            with _at_work(self._made[0]):
                close(self._made[0].plugin)


@contextlib.contextmanager
def _at_work(executor: Named) -> Iterator[None]:
    try:
        with guarded(str(executor), "in the middle of its work"):
            yield
    except OSError:
        raise  # the system's, which names the file
    except Exception as error:
        raise explained(error, executor) from error
