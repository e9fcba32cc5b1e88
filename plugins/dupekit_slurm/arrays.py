"""Job arrays: submits them, asks for their states, cancels them, and remembers them across processes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dupekit.api import Job, JobError, OptionError, write_text

if TYPE_CHECKING:
    from dupekit_slurm import SlurmOptions

RESULT = "result.json"

# Of a task that does nothing any more. Every other state counts as alive, those that are not known too:
# waiting too long does less harm than giving up a run that is still being done.
ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
    }
    | {"PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"}
)
_ASKING_S = 60
"""After which a command of SLURM is taken to get no answer."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an array: the jobs that one worker does, in order."""

    id: str
    """SLURM's, such as "4711_0"; "4711" where the array has only one."""
    log: Path
    jobs: tuple[Job, ...]


def submit(jobs: Sequence[Job], folder: Path, options: SlurmOptions) -> list[Task]:
    """Submits the jobs as one array, in shares of equal size, none over `jobs_per_task`.

    Raises JobError with sbatch's own words where it refuses.
    """
    if not jobs:
        return []
    import submitit

    # It logs to stdout, where `--json` promises one document and nothing else.
    logging.getLogger("submitit").handlers.clear()
    count = -(-len(jobs) // options.jobs_per_task)
    shares = [tuple(jobs[i * len(jobs) // count : (i + 1) * len(jobs) // count]) for i in range(count)]
    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(**_parameters(options))
    with _outside_of_jobs():
        try:
            submitted = executor.map_array(
                work, [[str(job.folder.absolute()) for job in jobs] for jobs in shares]
            )
        except (submitit.core.utils.FailedJobError, OSError) as error:
            raise JobError(
                f"sbatch refused the job array: {str(error).strip() or type(error).__name__}",
                hint="Look at the executor's options, such as --set executor.partition=NAME; `dupekit plugins"
                " show slurm` lists them.",
            ) from error
    return [Task(one.job_id, one.paths.stderr, share) for one, share in zip(submitted, shares, strict=True)]


def work(folders: Sequence[str]) -> int:
    """What a task does on its node: the worker, for those of its folders that have no result yet.

    SLURM may have requeued the task, so some may have. Where a run takes the worker down with it, another
    worker does the runs after it. Returns the last exit code.
    """
    # How a worker ends by its own fault or for want of memory, but not when it is told to end.
    crashes = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE}
    code = 0
    rest = [folder for folder in folders if not (Path(folder) / RESULT).is_file()]
    while rest:
        code = subprocess.call([sys.executable, "-m", "dupekit.jobs", *rest])
        if code not in crashes:
            break
        rest = [folder for folder in rest if not (Path(folder) / RESULT).is_file()][1:]
    return code


def states(ids: Collection[str]) -> dict[str, str] | None:
    """SLURM's state of each task by its id; None where there was no answer.

    A task that ended some minutes ago is not known any more, and missing.
    """
    arrays = sorted({one.partition("_")[0] for one in ids})
    command = [
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        "--format=%i|%T",
        f"--jobs={','.join(arrays)}",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ASKING_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return {} if "Invalid job id" in answer.stderr else None
    found = dict(line.split("|", 1) for line in answer.stdout.split() if "|" in line)
    return {one: state for one, state in found.items() if one in ids}


def cancel(ids: Collection[str]) -> None:
    """Cancels these tasks. SLURM ends them soon after; one that has ended already is none of its concern."""
    if ids:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # nothing more can be done from here
            subprocess.run(["scancel", "--quiet", *ids], capture_output=True, timeout=_ASKING_S, check=False)


class Record:
    """The file that says which array is at work on these job folders, should this process be killed."""

    def __init__(self, folder: Path, options: SlurmOptions) -> None:
        self.folder = folder
        self.file = folder / "array.json"
        self.options = asdict(options)

    def write(self, tasks: Sequence[Task]) -> None:
        entries = [{"id": t.id, "log": str(t.log), "jobs": [job.name for job in t.jobs]} for t in tasks]
        write_text(self.file, json.dumps({"options": self.options, "tasks": entries}, indent=1))

    def delete(self) -> None:
        self.file.unlink(missing_ok=True)

    def take_over(self, jobs: Sequence[Job]) -> list[Task]:
        """The tasks that are still alive, each with those of its jobs that are wanted.

        Cancels those that have none, and all where they were submitted with other options."""
        try:
            content = json.loads(self.file.read_bytes())
            by_name = {job.name: job for job in jobs}
            tasks = [
                Task(
                    entry["id"],
                    Path(entry["log"]),
                    tuple(by_name[name] for name in entry["jobs"] if name in by_name),
                )
                for entry in content["tasks"]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        alive = {
            id_ for id_, state in (states([task.id for task in tasks]) or {}).items() if state not in ENDED
        }
        wanted = [
            task for task in tasks if task.id in alive and task.jobs and content["options"] == self.options
        ]
        cancel(alive - {task.id for task in wanted})
        return wanted


def _parameters(options: SlurmOptions) -> dict[str, Any]:
    """The options as submitit's SlurmExecutor takes them."""
    given: dict[str, Any] = {
        "job_name": "dupekit",
        "time": options.timeout_min,
        "cpus_per_task": options.cpus,
        "mem": f"{round(options.mem_gb * 1024)}MB",
        "array_parallelism": options.parallel,
        "signal_delay_s": 30,  # before its time limit: submitit says in the log that the task timed out
    }
    if options.gpus:
        given["gpus_per_node"] = options.gpus
    for name in ("partition", "account", "qos"):
        if getattr(options, name):
            given[name] = getattr(options, name)
    if options.setup:
        given["setup"] = [options.setup]
    if options.extra:
        given["additional_parameters"] = _extra(options.extra)
    return given


def _extra(text: str) -> dict[str, Any]:
    """Options of sbatch, written as on its command line."""
    found: dict[str, Any] = {}
    for word in shlex.split(text):
        if not word.startswith("--") or len(word) == 2:
            raise OptionError(
                f"extra={text!r}: {word!r} is not --NAME or --NAME=VALUE.",
                hint="Write the long form of each option, as in --constraint=a100",
            )
        name, equals, value = word[2:].partition("=")
        found[name] = value if equals else True
    return found


@contextlib.contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hides the variables of a SLURM job that dupekit itself may run in: the array would inherit them.

    SLURM_CONF is not the job's but the cluster's."""
    from submitit import helpers

    configuration = os.environ.get("SLURM_CONF")
    with helpers.clean_env():
        if configuration is not None:
            os.environ["SLURM_CONF"] = configuration
        yield
