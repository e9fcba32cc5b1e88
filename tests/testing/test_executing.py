"""`check_executor`: the local executor passes, and each way of breaking the contract is caught and named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dupekit.api import Job, Outcome, Progress
from dupekit.errors import PluginError
from dupekit.jobs.local import LocalExecutor
from dupekit.testing import check_executor, make_dataset, make_jobs, register
from tests.support import HereExecutor


class _Executor:
    """Runs nothing: `outcomes` says what it pretends."""

    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = LocalExecutor.Options
    outcomes: ClassVar[Callable[[Sequence[Job]], Iterator[Any]]]

    def run(self, jobs: Sequence[Job], options: Any, progress: Any) -> Iterator[Any]:
        return type(self).outcomes(jobs)


def _crash(jobs: Sequence[Job]) -> Iterator[Any]:
    yield from (Outcome(job) for job in jobs[1:])
    if jobs:
        raise RuntimeError("no such partition")


def _pretend(jobs: Sequence[Job]) -> Iterator[Any]:
    return (Outcome(job, None if job.name.startswith("p01") else "bad") for job in jobs)


def _hang(jobs: Sequence[Job]) -> Iterator[Any]:
    yield from ()
    time.sleep(30 if jobs else 0)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return make_jobs(tmp_path / "round", make_dataset(tmp_path / "data", per_class=4))


class TestExecutors:
    def test_the_local_one_keeps_the_contract(
        self, tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONPATH", str(register(tmp_path / "site")))
        check_executor(LocalExecutor, jobs)

    @pytest.mark.parametrize(
        ("outcomes", "message"),
        [
            (
                lambda jobs: (Outcome(job) for job in jobs[1:]),
                "gave 0 outcomes, not one, for the job 'p01-a'",
            ),
            (lambda jobs: (Outcome(job) for job in [*jobs, *jobs]), "gave 2 outcomes"),
            (lambda jobs: (job.name for job in jobs), "gave 'p01-a', not the Outcome"),
            (lambda jobs: (Outcome(job, "no GPU") for job in jobs), "'p01-a' failed, although .*: no GPU"),
            (lambda jobs: iter([Outcome(Job("x", Path()))]), "run.. of no jobs gave outcomes"),
            (_crash, "run.. of 3 jobs raised RuntimeError: no such partition"),
            (_pretend, "says that 'p01-a' is done, but result.json or predictions.npz is missing"),
            (_hang, "run.. of 3 jobs has not ended after 0.2 s"),
        ],
    )
    def test_is_caught(self, jobs: list[Job], outcomes: Any, message: str) -> None:
        broken = type("Broken", (_Executor,), {"outcomes": staticmethod(outcomes)})
        with pytest.raises(PluginError, match=message):
            check_executor(broken, jobs, timeout_s=0.2)

    def test_says_that_the_impossible_was_done(self, jobs: list[Job]) -> None:
        for job in jobs:
            for name in ("result.json", "predictions.npz"):
                (job.folder / name).touch()
        broken = type("Broken", (_Executor,), {"outcomes": staticmethod(lambda js: map(Outcome, js))})
        with pytest.raises(PluginError, match=r"job.json is not valid that it was done"):
            check_executor(broken, jobs)

    @pytest.mark.parametrize(
        ("submit", "message"),
        [
            (lambda *_: None, "gave 0 outcomes, not one, for the job 'p01-a'"),
            (lambda *_: 1 / 0, r"submit\(\), cancel\(\), .* raised ZeroDivisionError"),
        ],
    )
    def test_forgets_what_was_submitted(
        self, tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch, submit: Any, message: str
    ) -> None:
        monkeypatch.syspath_prepend(str(register(tmp_path / "site")))
        made: list[object] = []

        class Forgetful(HereExecutor):
            def __init__(self) -> None:
                made.append(self)

            def submit(self, jobs: Sequence[Job], options: Any, progress: Progress) -> None:
                submit()

            def cancel(self, jobs: Sequence[Job]) -> None: ...

            def run(self, jobs: Sequence[Job], options: Any, progress: Progress) -> Iterator[Outcome]:
                # The third one made is the one that is to find what the second has submitted.
                return super().run(jobs, options, progress) if len(made) < 3 else iter(())

        with pytest.raises(PluginError, match=message):
            check_executor(Forgetful, jobs)

    def test_nothing_is_asked_of_folders_into_which_what_was_stopped_may_write(
        self, tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(register(tmp_path / "site")))
        asked: list[str] = []

        class Detaching(HereExecutor):
            def submit(self, jobs: Sequence[Job], options: Any, progress: Progress) -> None:
                asked.append("submit")

            def cancel(self, jobs: Sequence[Job]) -> None:
                asked.append("cancel")

            def run(self, jobs: Sequence[Job], options: Any, progress: Progress) -> Iterator[Outcome]:
                outcomes = list(super().run(jobs, options, progress))
                asked.append("run")
                try:
                    yield from outcomes
                except GeneratorExit:
                    asked.append("closed")
                    raise

        check_executor(Detaching, jobs)
        assert asked == ["run", "run", "submit", "cancel", "submit", "run", "run", "closed"]
