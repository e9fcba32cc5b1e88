"""Any number of runs of one round on one device, as many side by side as fill it."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from dupekit.api import Model, Progress, TrainTask, stage
from dupekit_torch.device import memory_bytes, peak_memory_mib
from dupekit_torch.fit.progress import JointProgress
from dupekit_torch.fit.training import repeatable
from dupekit_torch.lane import Lane, schedule_of
from dupekit_torch.network.classifier import draws
from dupekit_torch.options import Options
from dupekit_torch.shared import share

MOST_AT_ONCE = 4
"""Runs side by side. On CPU each then has a quarter of the cores, also where it is the last one left; on an H100 steps of
CIFAR-10's network took 1.5 ms one after the other, 1.19, 1.09 and 1.04 ms with two, three and four side by side."""

MEMORY_SHARE = 0.6
"""Of a GPU's memory that runs side by side may take; the rest is for the validator, and for others."""


class Worker:
    """Keeps what the runs share and its lanes for all runs that are given to it."""

    def __init__(self, task: TrainTask[Options], progress: Progress) -> None:
        self._shared = share(task, progress)
        self._threads = torch.get_num_threads()
        self._at_once = task.options.runs_at_once
        if self._shared.device.type != "cuda":
            # The threads follow from the machine and the option alone, not from how many runs there are to do: sums
            # of another number of threads differ in their last digits, and the same job must give the same votes.
            self._at_once = self._at_once or min(MOST_AT_ONCE, self._threads)
            self._threads = max(1, self._threads // self._at_once)
        with stage(progress, "preparing"):
            self._lanes = [Lane(self._shared, threads=self._threads)]
        if draws(self._lanes[0].step.network):  # from the process's random state, which two cannot share
            self._at_once = 1

    def run(self, tasks: Sequence[TrainTask[Options]], progress: Progress) -> Iterator[Model]:
        """All these trainings, as many at once as fill the device; the models in the tasks' order.

        Small convolutions do not split well between cores: two runs of one thread did 1.13 times the images a
        second of one run of two threads (median of 3 on plankton at 48 pixels, from 0.99 to 1.40).
        """
        joint = JointProgress(progress, [schedule_of(task).looks for task in tasks])
        with repeatable():
            self._lanes[0].compile(schedule_of(tasks[0]).batch, joint)
            self._at_once = self._at_once or lanes_on_gpu(
                captured=self._lanes[0].step.captured,
                lane_bytes=peak_memory_mib(self._shared.device) * 2**20,
                all_bytes=memory_bytes(self._shared.device),
            )
            count = min(self._at_once, len(tasks))
            if count == 1:
                for position, task in enumerate(tasks):
                    yield self._lanes[0].run(task, joint.of_run(position))
            else:
                yield from self._side_by_side(tasks, joint, count)

    def _side_by_side(
        self, tasks: Sequence[TrainTask[Options]], joint: JointProgress, count: int
    ) -> Iterator[Model]:
        free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for number in range(count):
            if number == len(self._lanes):
                self._lanes.append(Lane(self._shared, threads=self._threads))
            # torch's compiler bears no training beside it, nor does the capture of a graph.
            self._lanes[number].compile(schedule_of(tasks[0]).batch, joint)
            free.put(self._lanes[number])

        def train(position: int) -> Model:
            lane = free.get()
            try:
                return lane.run(tasks[position], joint.of_run(position))
            finally:
                free.put(lane)

        with ThreadPoolExecutor(count) as pool:
            waiting = [pool.submit(train, position) for position in range(len(tasks))]
            try:
                for future in waiting:
                    yield future.result()
            finally:
                joint.close()
                pool.shutdown(wait=True, cancel_futures=True)


def lanes_on_gpu(*, captured: bool, lane_bytes: float, all_bytes: int) -> int:
    """How many runs go side by side on a GPU, where one lane, with the pixels that all share, takes so much memory.

    Steps that are not captured are started one kernel at a time by Python, of which there is only one.
    """
    return max(1, min(MOST_AT_ONCE, int(MEMORY_SHARE * all_bytes / max(1, lane_bytes)))) if captured else 1
