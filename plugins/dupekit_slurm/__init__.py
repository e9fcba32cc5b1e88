"""Executor "slurm": does the runs as a SLURM job array, submitted through submitit.

The job folders must lie on a file system that the nodes share, and so must the Python that submits. What
has ended is seen in the job folders; `squeue` is asked only which tasks are still alive, so that nothing
here needs accounting.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dupekit.api import Job, OptionError, Outcome, PluginError, Progress
from dupekit_slurm.arrays import Record, cancel, submit
from dupekit_slurm.watching import watch

__all__ = ["SlurmExecutor", "SlurmOptions"]


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    partition: str = field(
        default="", metadata={"help": "as sbatch --partition; empty is the cluster's default"}
    )
    account: str = field(default="", metadata={"help": "as sbatch --account"})
    qos: str = field(default="", metadata={"help": "as sbatch --qos"})
    timeout_min: int = field(
        default=240, metadata={"help": "time limit of a task, that is of all jobs_per_task runs together"}
    )
    gpus: int = field(default=1, metadata={"help": "per task; 0 for none"})
    cpus: int = field(default=4, metadata={"help": "cores per task"})
    mem_gb: float = field(default=16, metadata={"help": "memory per task, GiB"})
    # Runs of one task share decoded images and compiled models, and `train_many`; what a task that is cut
    # off has not finished must be done again. Five of twenty leave four GPUs something to do.
    jobs_per_task: int = field(default=5, metadata={"help": "runs that one worker does, one after the other"})
    parallel: int = field(default=16, metadata={"help": "tasks that may run at the same time"})
    setup: str = field(default="", metadata={"help": "shell command to run first, such as module load cuda"})
    extra: str = field(
        default="", metadata={"help": "more options of sbatch, such as --constraint=a100 --gres=gpu:1"}
    )
    lag_s: float = field(
        default=30, metadata={"help": "how long a file may take to be seen here that a node has written"}
    )

    def __post_init__(self) -> None:
        for name, least in (
            ("timeout_min", 1),
            ("gpus", 0),
            ("cpus", 1),
            ("jobs_per_task", 1),
            ("parallel", 1),
        ):
            if getattr(self, name) < least:
                raise OptionError(f"{name}={getattr(self, name)} is not at least {least}.")
        if self.mem_gb <= 0 or self.lag_s < 0:
            raise OptionError(
                f"mem_gb={self.mem_gb}, lag_s={self.lag_s}: neither may be negative, nor memory 0."
            )


class SlurmExecutor:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = SlurmOptions

    def run(
        self, jobs: Sequence[Job], options: SlurmOptions, progress: Progress
    ) -> Generator[Outcome, None, None]:
        """Yields an outcome per job, as they finish. Closing the iterator cancels what is left.

        An array that a killed dupekit left behind is taken over where its options are the same, and
        cancelled where not. submitit's files and the logs go to `.submitit` beside the job folders.
        Raises PluginError without SLURM or submitit, JobError where sbatch refuses the array.
        """
        if not jobs:
            return
        require_slurm()
        record = Record(jobs[0].folder.absolute().parent / ".submitit", options)
        tasks = record.take_over(jobs)
        taken = {job for task in tasks for job in task.jobs}
        waiting = {task: list(task.jobs) for task in tasks}
        try:
            new = submit([job for job in jobs if job not in taken], record.folder, options)
            waiting |= {task: list(task.jobs) for task in new}
            record.write(list(waiting))
            yield from watch(waiting, options, progress)
        finally:
            cancel([task.id for task in waiting])
            record.delete()


def require_slurm() -> None:
    """Raises PluginError where this machine cannot submit."""
    missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise PluginError(
            f"The executor 'slurm' needs {', '.join(missing)}, which this machine does not have.",
            hint="Run dupekit on a login node of the cluster, or use --executor local.",
        )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise PluginError(
            f"The executor 'slurm' needs submitit: {error}.", hint='pip install "dupekit[slurm]"'
        ) from None
