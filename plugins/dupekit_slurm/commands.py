"""SLURM's commands: which there are, and what they answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence

from dupekit.api import JobError, PluginError

# Of a task that does nothing any more. Every other state counts as alive, those that are not known too:
# waiting too long does less harm than giving up a run that is still being done.
ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
     "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT")
)  # fmt: skip
_ASKING_S = 60
"""After which a command of SLURM is taken to get no answer."""


def require_slurm() -> None:
    """Raises PluginError where this machine cannot submit."""
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise PluginError(
            f"The executor 'slurm' needs {', '.join(missing)}, which this machine does not have.",
            hint="Run dupekit on a login node of the cluster, or use --executor local.",
        )


def call(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
    """What a command of SLURM prints. Raises JobError with its own words where it fails."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_ASKING_S,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(str(error)) from error
    if answer.returncode != 0:
        raise JobError(answer.stderr.strip() or f"{command[0]} ended with exit code {answer.returncode}")
    return answer.stdout


def states(names: Iterable[str]) -> dict[str, str]:
    """SLURM's state of each task of the arrays of these names, by the task's id, such as "4711_0".

    A task that ended some minutes ago is not known any more, and missing. Raises JobError where there was no
    answer: then the tasks may be alive or not.
    """
    # By name, which is ours before sbatch answers: an array is found although nobody heard its number. And of
    # one user, since the controller is asked less for that than for all.
    command = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T"]
    lines = call([*command, f"--name={','.join(sorted(set(names)))}"]).split()
    return dict(line.split("|", 1) for line in lines if "|" in line)


def cancel(ids: Collection[str]) -> None:
    """Cancels these tasks. SLURM ends them soon after; one that has ended already is none of its concern.

    Raises JobError where there was no answer.
    """
    if ids:
        call(["scancel", "--quiet", *ids])


def outside_of_jobs() -> dict[str, str]:
    """The environment without the variables of a SLURM job that dupekit itself may run in.

    An array would inherit them, whatever --export says. Outside of jobs nothing is taken away: there they are
    what the user or the site has set, such as SBATCH_ACCOUNT.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return dict(os.environ)
    of_job = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_CPU_BIND", "SBATCH_MEM_BIND")
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(of_job)  # SLURM_CONF is the cluster's
    }
