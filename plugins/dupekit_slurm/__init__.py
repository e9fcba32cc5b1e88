"""Executor "slurm": does the runs as a SLURM job array.

The job folders must lie on a file system that the nodes share, and so must the Python that submits. What
has ended is seen in the job folders; `squeue` is asked only which tasks are still alive, so that nothing
here needs accounting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import ClassVar

from dupekit.api import Job, JobError, Outcome, Progress
from dupekit_slurm.arrays import forget, submit, take_over
from dupekit_slurm.commands import cancel, require_slurm
from dupekit_slurm.options import SlurmOptions
from dupekit_slurm.watching import Watched, watch

__all__ = ["SlurmExecutor", "SlurmOptions"]


class SlurmExecutor:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = SlurmOptions

    def run(
        self, jobs: Sequence[Job], options: SlurmOptions, progress: Progress, /
    ) -> Generator[Outcome, None, None]:
        """Yields an outcome per job, as they finish. Closing the generator cancels what is left.

        An array that a killed dupekit left behind is taken over where its options are the same, and
        cancelled where not. Scripts and logs go to `.slurm` beside the job folders. Raises PluginError without
        SLURM, JobError where sbatch refuses the array or SLURM gives no answer when something is to be submitted.
        """
        if not jobs:
            return
        require_slurm()
        home = jobs[0].folder.absolute().parent / ".slurm"
        watched = [Watched(task) for task in take_over(jobs, home, options)]
        taken = {job for one in watched for job in one.jobs}
        try:
            watched += map(Watched, submit([job for job in jobs if job not in taken], home, options))
            yield from watch(watched, options, progress)
        finally:
            left = [one.task.id for one in watched if one.jobs and one.ended is None]
            with contextlib.suppress(JobError):  # nothing more can be done from here
                cancel(left)
            if not left:  # else the records stay: whoever submits next waits until those have ended
                for one in watched:
                    forget(one.task.array)
