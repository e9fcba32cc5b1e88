"""Which runs of a round an executor was given that goes on without dupekit: `rounds/01/submitted.json`.

A run is in it from before it is submitted until its outcome is taken up. Meanwhile a worker may be at its folder at any time.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dupekit.jobs.files import read_model, write_model
from dupekit.jobs.folder import RoundFolder
from dupekit.plugin.contract import Job
from dupekit.system.stamp import now

FILE = "submitted.json"


class SubmittedFile(BaseModel):
    """submitted.json: runs that an executor was given, and of which nobody has taken up how they ended."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: Literal["dupekit/submitted/1"] = Field("dupekit/submitted/1", alias="schema")
    executor: str
    since: str = Field(description="When the last ones were submitted: UTC, ISO 8601.")
    runs: list[str] = Field(description="Names of the runs, ascending.")


class UnderWay:
    """The runs of one round that are under way."""

    def __init__(self, folder: RoundFolder) -> None:
        """Raises JobError where the file is not valid."""
        self.path: Path = folder.path / FILE
        self._folder = folder
        self.file = read_model(self.path, SubmittedFile) if self.path.exists() else None

    def __contains__(self, run: str) -> bool:
        return self.file is not None and run in self.file.runs

    def jobs(self) -> list[Job]:
        names = self.file.runs if self.file else []
        return [Job(name, self._folder.path / "runs" / name) for name in names]

    def add(self, runs: Collection[str], *, executor: str) -> None:
        """All that are under way are this executor's."""
        known = self.file.runs if self.file else []
        self._write(SubmittedFile(executor=executor, since=now(), runs=sorted({*known, *runs})))

    def remove(self, runs: Collection[str]) -> None:
        if self.file is not None and not set(runs).isdisjoint(self.file.runs):
            left = [name for name in self.file.runs if name not in runs]
            self._write(self.file.model_copy(update={"runs": left}))

    def _write(self, file: SubmittedFile) -> None:
        if file.runs:
            write_model(self.path, file)
            self.file = file
        else:
            self.path.unlink(missing_ok=True)
            self.file = None
