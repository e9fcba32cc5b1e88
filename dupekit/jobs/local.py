"""The executor "local": workers on this machine, one a GPU, which keep data and models between runs, and between calls."""

from __future__ import annotations

import contextlib
import logging
import queue
import re
from collections import deque
from collections.abc import Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge

from dupekit.errors import JobError
from dupekit.jobs.files import JOB, JobFile, read_model
from dupekit.jobs.joint_progress import JointProgress
from dupekit.jobs.messages import STARTING, Ended, Logged, Message
from dupekit.jobs.places import WorkerPlace, worker_places
from dupekit.jobs.process import Heard, WorkerProcess
from dupekit.plugin.checks import Told
from dupekit.plugin.contract import Job, Outcome
from dupekit.system.progress import Progress, silent

LOG = "worker-{}.log"

_ENDING = "ending the worker"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalOptions:
    devices: str | None = field(
        default=None,
        metadata={
            "help": "GPUs that get a worker each, by CUDA's numbers, such as 0,1; without it, all there are"
        },
    )
    # Two workers of one core each took as long as one of two, or longer: docs/speed.md.
    workers: Annotated[int, Ge(1)] | None = field(
        default=None, metadata={"help": "on a CPU: how many workers share its cores; without it, one"}
    )

    def __post_init__(self) -> None:
        self.numbers()

    def numbers(self) -> tuple[int, ...] | None:
        """The GPUs' numbers. Raises ValueError."""
        if self.devices is None:
            return None
        words = [word.strip().removeprefix("cuda:") for word in self.devices.split(",")]
        numbers = {int(word) for word in words if re.fullmatch(r"[0-9]{1,4}", word)}
        if len(numbers) < len(words):
            raise ValueError(f"devices={self.devices!r} is no list of different numbers, as in 0,1")
        return tuple(sorted(numbers))


class LocalExecutor:
    """Runs jobs in worker processes, which then wait for more.

    A worker that is free gets a share of what is left, for runs that are done together share what is expensive. When one dies, the
    run it was at is done once more, after the others; the rest of its share goes back to those who live.
    """

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = LocalOptions

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._crew: list[_Seat] = []
        self._progress = JointProgress(silent)

    def run(
        self, jobs: Sequence[Job], options: LocalOptions, progress: Progress
    ) -> Generator[Outcome, None, None]:
        """Yields an outcome per job, as they end. Closing the iterator ends the workers, and all that they started.

        Raises UsageError where a GPU is not there.
        """
        if not jobs:
            return
        wanted = self.places(_device_of(jobs), options)
        if [seat.place for seat in self._crew] != wanted:
            self._end()
            self._crew = [_Seat(place) for place in wanted]
        self._progress = JointProgress(progress)
        left = _Left(jobs, workers=len(wanted))
        try:
            while self._hand_out(left):
                heard = self._heard.get()
                seat = next((seat for seat in self._crew if seat.worker is heard.worker), None)
                if seat is None:  # it was ended
                    continue
                if heard.message is None:
                    yield from self._after_death(seat, heard.worker, left)
                elif isinstance(heard.message, Ended):
                    left.any_ended = True
                    yield Outcome(seat.given.pop(heard.message.folder), heard.message.error)
                else:
                    self._tell(seat, heard.message)
        except BaseException:
            self._end()  # also where the iterator was closed: whoever does not want the rest waits for nothing
            raise

    @staticmethod
    def places(device: str, options: LocalOptions) -> list[WorkerPlace]:
        """Where the workers of a training on this device are. Raises UsageError where a GPU is not there."""
        return worker_places(device, devices=options.numbers(), workers=options.workers)

    def close(self) -> None:
        """Ends the workers, when their plugins are closed."""
        living = {seat.worker: seat for seat in self._crew if seat.worker}
        if not living:
            return
        try:
            for worker, seat in living.items():
                self._tell_of_worker(seat, _ENDING, 0)
                worker.expect_end()
            while living:
                heard = self._heard.get()
                if heard.message is not None and heard.worker in living:
                    self._tell(living[heard.worker], heard.message)
                elif heard.message is None and heard.worker in living:
                    heard.worker.close()
                    seat = living.pop(heard.worker)
                    seat.worker = None
                    self._tell_of_worker(seat, _ENDING, 1)
        finally:
            self._end()

    def _hand_out(self, left: _Left) -> bool:
        """Gives each worker that is free its share; whether anybody is at work."""
        for seat in self._crew:
            if not seat.given and (share := left.share()):
                self._give(seat, share)
        return any(seat.given for seat in self._crew)

    def _give(self, seat: _Seat, share: list[Job]) -> None:
        """To the worker that waits there, or else a new one."""
        seat.given = {str(job.folder.absolute()): job for job in share}
        seat.share = len(share)
        if seat.worker and not seat.worker.take(share):
            seat.worker.close()
            seat.worker = None
        if not seat.worker:
            self._tell_of_worker(seat, STARTING, 0)  # the worker itself says when it has
            log = share[0].folder.parent / LOG.format(seat.place.number)
            seat.worker = WorkerProcess(share, log, self._heard, seat.place.environment)

    def _after_death(self, seat: _Seat, worker: WorkerProcess, left: _Left) -> Iterator[Outcome]:
        seat.worker = None
        worker.close()
        self._progress.forget(seat)
        unknown, seat.given = list(seat.given.values()), {}
        lost = []
        for job in unknown:
            if outcome := job.outcome():  # what it did not live to say stands in the folder
                left.any_ended = True
                yield outcome
            else:
                lost.append(job)
        if lost:
            yield from left.after_death(lost, worker.death(), share=seat.share)

    def _end(self) -> None:
        """Ends all workers, whatever they are doing."""
        living = [seat for seat in self._crew if seat.worker]
        for seat in self._crew:
            seat.given = {}
        if not living:
            return
        self._tell_of_worker(self, _ENDING, 0)
        with contextlib.ExitStack() as stack:
            stack.callback(self._tell_of_worker, self, _ENDING, 1)
            for seat in living:
                assert seat.worker is not None
                seat.worker.let_go()
                stack.callback(seat.worker.close)
                seat.worker = None

    def _tell(self, seat: _Seat, message: Message) -> None:
        if isinstance(message, Logged):
            who = f"{seat.place.name}: " if len(self._crew) > 1 else ""
            logging.getLogger(message.logger).log(message.level, "%s%s", who, message.text)
        elif isinstance(message, Told) and message.stage == STARTING:
            self._tell_of_worker(seat, STARTING, message.done)
        elif isinstance(message, Told):
            self._progress.tell(seat, message)

    def _tell_of_worker(self, who: Hashable, stage: str, done: int) -> None:
        self._progress.tell(who, Told(f"{stage}s" if len(self._crew) > 1 else stage, done, 1, {}))


@dataclass(slots=True, eq=False)
class _Seat:
    """A place, and who is at work there."""

    place: WorkerPlace
    worker: WorkerProcess | None = None
    given: dict[str, Job] = field(default_factory=dict)
    """What it has to do still, by folder, in this order."""
    share: int = 0
    """So many it was given last."""


class _Left:
    """The runs that nobody is at, and who gets how many."""

    def __init__(self, jobs: Sequence[Job], *, workers: int) -> None:
        self.any_ended = False
        """Whether a run has come to its end, be it a failure."""
        self._workers = workers
        self._most = len(jobs)
        self._waiting = deque(jobs)
        self._again: deque[Job] = deque()
        self._died: dict[Job, str] = {}
        """The runs that a worker died at, and how; each is done once more."""

    def share(self) -> list[Job]:
        """What a free worker gets: of several each gets less and less, so that none is left with much when the others have
        nothing more to do. A run that a worker died at comes last, and by itself."""
        left = len(self._waiting)
        if not left:
            return [self._again.popleft()] if self._again else []
        fair = left if self._workers == 1 else -(-left // (2 * self._workers))
        return [self._waiting.popleft() for _ in range(min(fair, self._most))]

    def after_death(self, lost: Sequence[Job], how: str, *, share: int) -> Iterator[Outcome]:
        """A worker died of whose `share` these runs, in their order, have not ended."""
        first, *others = lost
        self._waiting.extendleft(reversed(others))
        if len(lost) == share > 1:  # perhaps they are too large together
            self._most = share // 2
        if first not in self._died:
            self._died[first] = how
            self._again.append(first)
            _log.warning("%s is done once more, after the others. %s", first.name, how)
            return
        yield Outcome(first, how)
        if not self.any_ended:  # the cause is hardly one run's own: others are not tried again
            yield from (Outcome(job, self._died[job]) for job in self._again)
            self._again.clear()


def _device_of(jobs: Sequence[Job]) -> str:
    """The device that these jobs, all of one training, name."""
    for job in jobs:
        with contextlib.suppress(JobError):  # a broken one says so in its worker
            return read_model(job.folder / JOB, JobFile).device
    return "cpu"
