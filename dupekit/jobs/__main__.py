"""`python -m dupekit.jobs FOLDER...`: the worker. What every executor runs, wherever it runs it.

With `--messages`, one JSON object a line on stdout tells how far it is, about ten times a second, and the
worker ends when its stdin closes. Exit code 0 where every run is done, 1 where one failed, 2 for wrong usage.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dupekit.jobs.worker import end_with_parent, run_jobs
from dupekit.plugin.contract import Job
from dupekit.system.progress import silent

LEAST_S = 0.1
"""No stage tells of itself more often: a person reads no faster, and a head predicts thousands of batches."""


class _Sparing:
    """Of the messages about each stage, lets the first and the last through, and in between ten a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # runs go on side by side
        self._told: dict[str, tuple[int, float]] = {}
        """Stage -> how far it was when it was last heard of, and when it was last told of."""

    def lets(self, stage: str, done: int, total: int) -> bool:
        now = time.monotonic()
        with self._lock:
            before, told = self._told.get(stage, (-1, -math.inf))
            begins = done == 0 or done < before  # of the next run
            passes = begins or done >= total or now >= told + LEAST_S
            self._told[stage] = (done, now if passes else told)
        return passes


class _Reporter:
    """The `Progress` of a worker: the messages that are worth it go to `say`."""

    cancelled = False

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._sparing = _Sparing()

    def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        if self._sparing.lets(stage, done, total):
            self._say(stage=stage, done=done, total=total, figures={k: float(v) for k, v in figures.items()})


class _Telling(logging.Handler):
    """Passes on what plugins log under "dupekit", so that the person at the terminal sees it."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__(logging.INFO)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(logger=record.name, level=record.levelno, text=record.getMessage())


def main(arguments: list[str]) -> int:
    messages = "--messages" in arguments
    folders = [Path(argument).absolute() for argument in arguments if argument != "--messages"]
    if not folders:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("dupekit").setLevel(logging.INFO)
    # What a plugin prints must not get among the messages: the real stdout is kept, and 1 becomes stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    if messages:
        threading.Thread(target=end_with_parent, args=(0,), daemon=True).start()

    writing = threading.Lock()

    def say(**message: Any) -> None:
        if messages:
            with writing:
                channel.write(json.dumps(message) + "\n")

    progress = _Reporter(say) if messages else silent
    if messages:
        logging.getLogger("dupekit").addHandler(_Telling(say))
    failed = False
    for outcome in run_jobs([Job(folder.name, folder) for folder in folders], progress):
        failed = failed or outcome.error is not None
        say(folder=str(outcome.job.folder), error=outcome.error)
        if outcome.error and not messages:
            print(f"{outcome.job.name}: {outcome.error}", file=sys.stderr)  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
