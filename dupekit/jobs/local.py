"""The executor "local": one worker process on this machine, which keeps data and models between runs."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dupekit.plugin.contract import Job, Outcome, worker_command
from dupekit.system.progress import Progress

LOG = "worker.log"


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The local executor has no options."""


class LocalExecutor:
    """Runs all jobs in one worker process; when that dies, the run it was at has failed, and another
    worker takes up the rest."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = LocalOptions

    def run(
        self,
        jobs: Sequence[Job],
        options: LocalOptions,  # noqa: ARG002
        progress: Progress,
    ) -> Generator[Outcome, None, None]:
        """Yields an outcome per job, in order. Closing the iterator ends the worker."""
        waiting = {str(job.folder.absolute()): job for job in jobs}
        while waiting:
            code = yield from self._work(waiting, progress)
            if waiting:
                job = waiting.pop(next(iter(waiting)))
                yield Outcome(job, _death(code, job.folder.parent / LOG))

    def _work(self, waiting: dict[str, Job], progress: Progress) -> Generator[Outcome, None, int]:
        """One worker, until it has done all or died; returns its exit code."""
        log_file = next(iter(waiting.values())).folder.parent / LOG
        with log_file.open("ab") as log:
            worker = subprocess.Popen(
                [*worker_command(list(waiting.values())), "--messages"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        try:
            assert worker.stdout is not None
            for line in worker.stdout:
                with contextlib.suppress(ValueError):  # half a line of a worker that died
                    message = json.loads(line)
                    if "folder" in message:
                        yield Outcome(waiting.pop(message["folder"]), message["error"])
                    elif "logger" in message:
                        logging.getLogger(message["logger"]).log(message["level"], "%s", message["text"])
                    else:
                        progress(message["stage"], message["done"], message["total"], **message["figures"])
            return worker.wait()
        finally:
            worker.kill()
            worker.communicate()


def _death(code: int, log: Path) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    hint = " (9: often out of memory)" if code == -9 else ""
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    last = f" Its last words: {tail[0]}" if tail else ""
    return f"The worker {how}{hint} during this run.{last} See {log}"
