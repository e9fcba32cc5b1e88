"""Executing: jobs are handed to the executor, and what it gives is checked. It can end nothing of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

from dupekit.jobs.failure import Named, explained
from dupekit.plugin.checks import Breach, CheckedProgress
from dupekit.plugin.contract import EXECUTORS, Job, Outcome
from dupekit.plugin.guard import guarded
from dupekit.plugin.registry import close
from dupekit.settings import Settings
from dupekit.system.progress import Progress
from dupekit.workflow.plan import make_executor


class Execution:
    """One instance of the settings' executor for all runs of a training; made with the first, closed at the end."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = CheckedProgress(progress)
        self._made: tuple[Named, Any] | None = None

    def outcomes(self, jobs: list[Job]) -> Generator[Outcome, None, None]:
        """How each ended. Raises PluginError where the executor breaks its contract or fails."""
        if self._made is None:
            plugin, options = make_executor(self._settings)
            self._made = Named(EXECUTORS, self._settings.executor, plugin), options
        executor, options = self._made
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
