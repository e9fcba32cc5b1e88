"""Submitted: how far the runs are that an executor has which goes on without dupekit, as their folders say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dupekit.errors import JobError
from dupekit.jobs.folder import RoundFolder
from dupekit.jobs.under_way import UnderWay
from dupekit.plugin.contract import Job, JobState
from dupekit.rounds.in_words import counted


@dataclass(frozen=True, slots=True)
class Submitted:
    """Of the runs that nobody has taken up yet."""

    executor: str
    since: str
    """When the last ones were submitted: UTC, ISO 8601."""
    runs: dict[str, JobState]
    """By name, ascending."""

    @property
    def counts(self) -> dict[JobState, int]:
        """So many runs are in each state, in the order of the states."""
        found = Counter(self.runs.values())
        return {state: found[state] for state in JobState if found[state]}

    def __str__(self) -> str:
        """A sentence."""
        many = f"{counted(len(self.runs), 'run')} submitted to {self.executor}"
        cut_off = self.counts.get(JobState.CUT_OFF, 0)
        if not self.left:
            return f"{many}, all ended."
        if self.left == cut_off:
            return f"{cut_off:,} of {many} {'was' if cut_off == 1 else 'were'} cut off."
        return f"{self.left:,} of {many} {'has' if self.left == 1 else 'have'} not ended."

    @property
    def left(self) -> int:
        """So many have not ended; a cluster may begin anew what was cut off."""
        return sum(state not in (JobState.DONE, JobState.FAILED) for state in self.runs.values())


def train_by(executor: str, usual: str) -> str:
    """The command that goes on by this executor; by another, such as the project's usual one, it would cancel what is submitted."""
    return "dupekit train" if executor == usual else f"dupekit train --executor {executor}"


def submitted(folder: RoundFolder) -> Submitted | None:
    """Raises JobError where it cannot be read."""
    under_way = UnderWay(folder)
    if under_way.file is None:
        return None
    states = {job.name: _state(job) for job in under_way.jobs()}
    return Submitted(under_way.file.executor, under_way.file.since, states)


def _state(job: Job) -> JobState:
    try:
        return job.state()
    except OSError as error:
        raise JobError(f"{job.folder} cannot be read: {error.strerror}.") from None
