"""`python -m dupekit.jobs FOLDER...`: the worker. What every executor runs, wherever it runs it.

With `--messages`, one JSON object a line on stdout tells how far it is, about ten times a second; further folders
are read from stdin, a JSON list a line, until an empty one; when its stdin closes, the worker ends at once. Exit code 0 where every run is done, 1 where one failed or SIGTERM ended it, 2 for
wrong usage. `python -m dupekit.jobs --prepare FOLDER` does no run, but what those of FOLDER's round share and needs no GPU.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from dupekit.errors import DupekitError
from dupekit.jobs.lifeline import Lifeline
from dupekit.jobs.messages import FLAG, STARTING, Ended, Message, parse_order, write
from dupekit.jobs.reporter import LogReporter, Reporter
from dupekit.jobs.worker import prepare, run_batches
from dupekit.plugin.contract import PREPARE, Job


def main(arguments: list[str]) -> int:
    messages = FLAG in arguments
    folders = [Path(argument).absolute() for argument in arguments if argument not in (FLAG, PREPARE)]
    if not folders:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("dupekit").setLevel(logging.INFO)
    parent, say = _take_over_pipes(messages)
    lifeline = Lifeline()
    lifeline.heed_sigterm()
    orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    if messages:
        lifeline.hold(parent, orders.put)
        logging.getLogger("dupekit").addHandler(LogReporter(say))
    progress = Reporter(lifeline, say)
    progress(STARTING, 1, 1)
    if PREPARE in arguments:
        return _prepare(folders[0], progress)
    given = done = 0

    def batches() -> Iterator[list[Job]]:
        nonlocal given
        batch = folders
        while batch:
            given += len(batch)
            yield [Job(folder.name, folder) for folder in batch]
            line = orders.get() if messages else None
            batch = [Path(folder) for folder in parse_order(line)] if line else []

    for outcome in run_batches(batches(), progress):
        done += outcome.error is None
        say(Ended(str(outcome.job.folder), outcome.error))
        if outcome.error is not None and not messages:
            print(f"{outcome.job.name}: {outcome.error}", file=sys.stderr)  # noqa: T201
    return int(done < given)


def _prepare(folder: Path, progress: Reporter) -> int:
    try:
        prepare(Job(folder.name, folder), progress)
    except DupekitError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _take_over_pipes(messages: bool) -> tuple[int, Callable[[Message], None]]:
    """Our own end of stdin, and what writes messages into our own stdout. Plugins are left an empty stdin, and stderr
    for their stdout: what they read or print gets not among the messages."""
    parent, channel = os.dup(0), os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    writing = threading.Lock()

    def say(message: Message) -> None:
        if messages:
            with (
                writing,
                contextlib.suppress(BrokenPipeError),
            ):  # a parent that is gone: its end of stdin says so
                channel.write(write(message))

    return parent, say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
