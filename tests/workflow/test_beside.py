"""What only reads works while another dupekit writes, as long as that may take."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dupekit.errors import LockedError
from dupekit.ledger import Ledger
from dupekit.project import Project
from dupekit.rounds.rules import RuleName
from dupekit.system.stamp import now
from tests.support import dupekit, parsed

READING = (
    ("status",),
    ("flag",),
    ("explain", "ciliate/wrong_amoeba.png"),
    ("report",),
    ("history",),
    ("verify",),
    ("ignore", "list"),
)


@pytest.fixture
def training(project: Project, fast: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A `dupekit train` that has two of three pairs and goes on when `tmp_path / "go on"` is there."""
    command = [sys.executable, "-m", "dupekit", "train", "-p", str(project.path), "--pairs", "3"]
    chosen = ["--trainer", "waiting", "--validator", "fake", "--set", f"until={tmp_path / 'go on'}"]
    with subprocess.Popen(
        [*command, *chosen], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as at_work:
        try:
            while at_work.poll() is None and project.status().pairs_done != 2:
                time.sleep(0.05)
            yield at_work
        finally:
            at_work.kill()


@contextlib.contextmanager
def _much_unfinished(path: Path) -> Iterator[None]:
    """A transaction of 20 MiB, as of a large run's predictions, that has not come to its end."""
    with Ledger(path) as ledger, contextlib.suppress(InterruptedError), ledger.write() as db:
        db.execute(
            "CREATE TABLE much AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
            " SELECT i, hex(randomblob(50)) AS said FROM n"
        )
        yield
        raise InterruptedError


def _next(project: Project) -> str:
    return str(project.status().next)


def test_a_training(training: subprocess.Popen[str], project: Project, tmp_path: Path) -> None:
    for command in READING:
        dupekit(*command, cwd=project.path)
    found = parsed("flag", cwd=project.path)
    assert (found["pairs"], len(found["dupes"])) == (2, 2)
    assert _next(project) == f"2 of 3 pairs are complete. A training is at work (process {training.pid})."
    with pytest.raises(LockedError, match="in use by `dupekit train`"):
        project.flag(rule=RuleName.VOTES)
    (tmp_path / "go on").touch()
    assert training.wait(60) == 0
    assert "at work" not in _next(project)
    assert parsed("flag", cwd=project.path)["pairs"] == 3


def test_a_training_that_was_killed_is_not_at_work(training: subprocess.Popen[str], project: Project) -> None:
    training.kill()
    training.wait()
    assert (project.path / "lock.holder").exists()
    assert _next(project) == "2 of 3 pairs are complete. Next: dupekit train"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody knows when a process began")
def test_nor_where_another_process_has_its_number_by_now(
    training: subprocess.Popen[str], project: Project
) -> None:
    training.kill()
    training.wait()
    file = project.path / "lock.holder"
    holder = json.loads(file.read_text())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for since, at_work in (("2001-01-01T00:00:00+00:00", False), (now(), True), ("?", True)):
            file.write_text(json.dumps(holder | {"pid": other.pid, "since": since}))
            assert ("at work" in _next(project)) == at_work
        other.kill()


def test_a_long_transaction(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupekit.ledger.database.BUSY_TIMEOUT_S", 0)
    with _much_unfinished(trained.path / "ledger.db"):
        for command in READING:
            dupekit(*command, cwd=trained.path)


def test_who_records_waits_for_who_reads(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than others who write would."""
    monkeypatch.setattr("dupekit.ledger.database.BUSY_TIMEOUT_S", 0.1)
    reader = sqlite3.connect(trained.path / "ledger.db", check_same_thread=False)
    with contextlib.closing(reader):
        looking = reader.execute("SELECT id FROM images")
        looking.fetchone()
        looked: list[bool] = []

        def end() -> None:
            looked.append(True)
            looking.close()

        ending = threading.Timer(0.5, end)
        ending.start()
        assert trained.ignore(["ciliate/wrong_amoeba.png"]) == 1
        assert looked
        ending.join()
