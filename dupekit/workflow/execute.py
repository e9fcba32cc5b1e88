"""Execute: an executor at work on job folders. What it does is checked, and it can end nothing of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

from dupekit.jobs.failure import Named, explained
from dupekit.plugin.checks import Breach, CheckedProgress
from dupekit.plugin.contract import Job, Outcome
from dupekit.plugin.guard import guarded
from dupekit.plugin.registry import close
from dupekit.system.progress import Progress


def outcomes(
    executor: Named, jobs: list[Job], options: Any, progress: Progress
) -> Generator[Outcome, None, None]:
    """What the executor gives, checked. It is at work only inside of here, and there it can end nothing of ours."""
    given = None
    try:
        with _at_work(executor):
            given = executor.plugin.run(jobs, options, CheckedProgress(progress))
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
        with _at_work(executor):
            if isinstance(given, Generator):
                given.close()
            close(executor.plugin)


@contextlib.contextmanager
def _at_work(executor: Named) -> Iterator[None]:
    try:
        with guarded(str(executor), "in the middle of its work"):
            yield
    except OSError:
        raise  # the system's, which names the file
    except Exception as error:
        raise explained(error, executor) from error
