"""`python -m dupekit.jobs FOLDER...`: the worker. What every executor runs, wherever it runs it.

With `--messages`, one JSON object a line on stdout tells how far it is, and the worker ends when its
stdin closes. Exit code 0 where every run is done, 1 where one failed, 2 for wrong usage.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dupekit.jobs.worker import end_with_parent, run_jobs


class _Telling(logging.Handler):
    """Passes on what plugins log under "dupekit", so that the person at the terminal sees it."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__(logging.INFO)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(logger=record.name, level=record.levelno, text=record.getMessage())


def main(arguments: list[str]) -> int:
    messages = "--messages" in arguments
    folders = [Path(argument).resolve() for argument in arguments if argument != "--messages"]
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

    def say(**message: Any) -> None:
        if messages:
            channel.write(json.dumps(message) + "\n")

    def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
        say(stage=stage, done=done, total=total, figures={k: float(v) for k, v in figures.items()})

    if messages:
        logging.getLogger("dupekit").addHandler(_Telling(say))
    failed = False
    for folder, error in run_jobs(folders, progress):
        failed = failed or bool(error)
        say(folder=str(folder), error=error)
        if error and not messages:
            print(f"{folder.name}: {error}", file=sys.stderr)  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
