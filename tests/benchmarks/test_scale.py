"""benchmarks/scale.py, small: what commands read, write and hold, which grows with the images at most, on any machine alike."""

from __future__ import annotations

import math
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import Ledger, rounds
from dupekit.ledger.database import FILE
from dupekit.project import Project
from dupekit.workflow.ingest import ingest
from dupekit.workflow.plan import Choices
from dupekit.workflow.selection import Selection

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import scale

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel counts no bytes here")

SIZES = (600, 4800)
GROWTH = 1.1
"""The largest exponent: of ten times the images a command may do 12.6 times as much."""
LEAST_BYTES = 2**18
"""So many are as good as none: SQLite may write tables that are gone with the command and no longer fit into its memory."""


@dataclass(frozen=True)
class Count:
    steps: int
    """Of SQLite's virtual machine."""
    written: int
    """Bytes."""
    held: int
    """Bytes of Python's objects at their peak."""


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Project]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale, "CLASSES", 4)
        place = tmp_path_factory.mktemp("scale")
        environment = scale._with_plugin(place / "site")
        patch.setenv("PYTHONPATH", environment["PYTHONPATH"])
        patch.syspath_prepend(str(place / "site"))
        made = {}
        for size in SIZES:
            made[size] = Project.create(
                scale.make_dataset(place / f"images-{size}", size), place / f"project-{size}"
            )
            made[size].scan()
            made[size].train(Choices(trainer="trivial", validator="trivial", pairs=2, device="cpu"))
        yield made


@pytest.fixture(scope="module")
def reviewed(projects: dict[int, Project]) -> dict[int, Project]:
    """The same, with a share of the images decided, and a share on the ignore list."""
    for size, project in projects.items():
        tree = project.export(project.path / "tree", Selection(limit=size // 20)).tree
        scale.decide(tree, every=2)
        project.collect(tree)
        paths = sorted(str(file.relative_to(project.dataset)) for file in project.dataset.rglob("*.png"))
        project.ignore(paths[::10])
    return projects


def counted(patch: pytest.MonkeyPatch, action: Callable[[], Any]) -> Count:
    steps = 0
    connect = sqlite3.connect

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def counting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_progress_handler(count, 1)
        return connection

    patch.setattr(sqlite3, "connect", counting)
    written = _written()
    tracemalloc.start()
    try:
        action()
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        patch.setattr(sqlite3, "connect", connect)
    return Count(steps, _written() - written, held)


def _written() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


COMMANDS: dict[str, Callable[[Project], object]] = {
    "scan": lambda project: project.scan(),
    "status": lambda project: project.status(),
    "flag": lambda project: project.flag(),
    "verify": lambda project: project.verify(quick=True),
}
REVIEWED: dict[str, Callable[[Project], object]] = {
    **COMMANDS,
    "advice": lambda project: project.advice(),
    "collect": lambda project: project.collect(project.path / "tree"),
    "history": lambda project: project.history(),
    "ignore list": lambda project: project.ignores(),
    "export-results": lambda project: project.export_results(project.path / "out.csv", overwrite=True),
    "apply": lambda project: project.apply(project.path.with_name("corrected"), dry_run=True),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_does_grows_with_the_images_at_most(
    projects: dict[int, Project], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    _require_growth(projects, monkeypatch, COMMANDS[command])


@pytest.mark.parametrize("command", REVIEWED)
def test_so_it_does_after_a_review(
    reviewed: dict[int, Project], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """export-results went through all verdicts for every image, and each command through all of the ignore list for each verdict."""
    _require_growth(reviewed, monkeypatch, REVIEWED[command])


def _require_growth(
    projects: dict[int, Project], monkeypatch: pytest.MonkeyPatch, run: Callable[[Project], object]
) -> None:
    for project in projects.values():
        run(project)  # what is read once, such as a module, is no part of it
    small, large = (
        counted(monkeypatch, lambda project=project: run(project)) for project in projects.values()
    )
    for figure, least in (("steps", 1), ("written", LEAST_BYTES), ("held", LEAST_BYTES)):
        before, after = (max(getattr(one, figure), least) for one in (small, large))
        assert _exponent(before, after) <= GROWTH, figure


def test_an_unchanged_scan_holds_a_class_and_not_the_dataset(
    projects: dict[int, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (counted(monkeypatch, project.scan) for project in projects.values())
    assert (large.held - small.held) / (
        SIZES[1] - SIZES[0]
    ) < 250  # bytes an image; a class is a quarter of them
    assert large.written < 64 * 1024


def test_a_run_is_recorded_with_hardly_more_bytes_than_the_ledger_grows(
    projects: dict[int, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = projects[SIZES[1]]
    file = project.path / FILE
    with Ledger(file) as ledger:
        runs = rounds.runs(ledger, 1)
        with ledger.write() as db:
            db.execute("DELETE FROM predictions WHERE run = ?", (runs[-1].number,))
        ledger.rows("VACUUM")
        before = file.stat().st_size
        count = counted(monkeypatch, lambda: ingest(ledger, RoundFolder(project.path, 1), runs[-1]))
    assert (
        count.written <= 1.5 * (file.stat().st_size - before) + 16 * 4096
    )  # pages that are written, and written back


def _exponent(before: int, after: int) -> float:
    return math.log(max(after, 1) / max(before, 1)) / math.log(SIZES[1] / SIZES[0])
