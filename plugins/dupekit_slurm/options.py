"""What a user may set of the executor."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Annotated, Literal

from dupekit.api import Ge, Gt


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    partition: str | None = field(
        default=None, metadata={"help": "as sbatch --partition; without it, the cluster's default"}
    )
    account: str | None = field(default=None, metadata={"help": "as sbatch --account"})
    qos: str | None = field(default=None, metadata={"help": "as sbatch --qos"})
    timeout_min: Annotated[int, Ge(1)] = field(
        default=240, metadata={"help": "time limit of a task, that is of all jobs_per_task runs together"}
    )
    gpus: Annotated[int, Ge(0)] = field(default=1, metadata={"help": "per task; 0 for none"})
    cpus: Annotated[int, Ge(1)] = field(default=4, metadata={"help": "cores per task"})
    mem_gb: Annotated[float, Gt(0)] = field(default=16, metadata={"help": "memory per task, GiB"})
    # Runs of one task share decoded images and compiled models, and `train_many`; what a task that is cut
    # off has not finished must be done again. Five of twenty leave four GPUs something to do.
    jobs_per_task: Annotated[int, Ge(1)] = field(
        default=5, metadata={"help": "runs that one worker does, one after the other"}
    )
    parallel: Annotated[int, Ge(1)] = field(
        default=16, metadata={"help": "tasks that may run at the same time"}
    )
    setup: str | None = field(
        default=None, metadata={"help": "shell command to run first, such as module load cuda"}
    )
    extra: str = field(
        default="", metadata={"help": "more options of sbatch, such as --constraint=a100 --gres=gpu:1"}
    )
    decode: Literal["auto", "yes", "no"] = field(
        default="auto",
        metadata={
            "help": "whether a job without a GPU decodes the images first, if the trainer can do that apart; auto: where gpus"
            " is not 0"
        },
    )
    decode_partition: str | None = field(
        default=None, metadata={"help": "partition of that job; without it, the same as the others'"}
    )
    lag_s: Annotated[float, Ge(0)] = field(
        default=30, metadata={"help": "how long a file may take to be seen here that a node has written"}
    )

    def __post_init__(self) -> None:
        for word in shlex.split(self.extra):
            if not word.startswith("--") or len(word) == 2:  # a bare word is the script to sbatch
                raise ValueError(
                    f"extra={self.extra!r}: {word!r} is not --NAME or --NAME=VALUE, as in --constraint=a100"
                )

    @property
    def decodes_first(self) -> bool:
        return self.decode == "yes" or (self.decode == "auto" and self.gpus > 0)

    def for_sbatch(self) -> list[str]:
        """These options as words of sbatch's command line, where they count more than a site's environment."""
        return [
            *self._for_any(self.partition),
            *([f"--gpus-per-node={self.gpus}"] if self.gpus else []),
            *shlex.split(self.extra),  # later than the others, so that they win
        ]

    def for_decoding(self) -> list[str]:
        """Likewise, for the job that decodes. Of `extra` it gets nothing: that is what the GPUs need."""
        return self._for_any(self.decode_partition or self.partition)

    def _for_any(self, partition: str | None) -> list[str]:
        named = {"partition": partition, "account": self.account, "qos": self.qos}
        return [
            "--nodes=1",
            "--ntasks=1",
            f"--time={self.timeout_min}",
            f"--cpus-per-task={self.cpus}",
            f"--mem={max(1, round(self.mem_gb * 1024))}M",  # 0 is all that the node has
            *(f"--{name}={value}" for name, value in named.items() if value),
        ]
