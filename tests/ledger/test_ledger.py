from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dupekit.dataset.scan import Content, File
from dupekit.errors import LedgerError
from dupekit.ledger import Ledger, images
from dupekit.ledger.database import SPILL_PAGES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Ledger(tmp_path / "ledger.db", create=True):
        pass
    return tmp_path / "ledger.db"


def test_a_missing_ledger_is_not_made_by_the_way(tmp_path) -> None:
    with pytest.raises(LedgerError, match="is missing"):
        Ledger(tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_ledger_is_said(tmp_path, content: bytes) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(content)
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(file)
    assert file.read_bytes() == content


def test_a_ledger_of_a_newer_dupekit_is_refused(path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " SELECT migration_set, 'm999_future', applied_at FROM _sqlite_migrations LIMIT 1"
        )
    db.close()
    with pytest.raises(LedgerError, match="newer dupekit") as caught:
        Ledger(path)
    assert "that release" in caught.value.hint


def test_it_keeps_the_promises_of_the_design(path) -> None:
    with Ledger(path) as ledger:
        assert ledger.value("PRAGMA journal_mode") == "delete"
        assert ledger.value("PRAGMA synchronous") == 2
        assert ledger.value("PRAGMA foreign_keys") == 1


def test_a_transaction_is_all_or_nothing(path) -> None:
    def fail(ledger: Ledger) -> None:
        with ledger.write() as db:
            db.execute("INSERT INTO classes (name) VALUES ('a')")
            raise RuntimeError

    with Ledger(path) as ledger:
        with pytest.raises(RuntimeError):
            fail(ledger)
        assert ledger.value("SELECT count(*) FROM classes") == 0
        with pytest.raises(LedgerError, match="NOT NULL"):
            images.record_contents(ledger, [Content(File("unknown/1.png", 1, 1))])


def test_reading_goes_on_while_another_process_writes(path) -> None:
    with Ledger(path) as one, Ledger(path) as two, one.write() as db:
        db.execute("INSERT INTO classes (name) VALUES ('a')")
        assert two.value("SELECT count(*) FROM classes") == 0


OPEN = (
    "import sys, pathlib; from dupekit.ledger import Ledger; Ledger(pathlib.Path(sys.argv[1]), create=True)"
)


def test_two_processes_may_make_it_at_once(tmp_path) -> None:
    file = tmp_path / "ledger.db"
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, file]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    with Ledger(file) as ledger:
        assert ledger.value("SELECT count(*) FROM _sqlite_migrations") == 9


WRITE = """
import sys, pathlib
from dupekit.ledger import Ledger, images
from dupekit.dataset.scan import Content, File
with Ledger(pathlib.Path(sys.argv[1])) as ledger:
    images.record_classes(ledger, ["a"])
    for i in range(100000):
        images.record_contents(ledger, [Content(File(f"a/{i}-{j}.png", 1, 1), "d", 1, 1, "L") for j in range(50)])
        print(i, flush=True)
"""


def test_what_was_acknowledged_survives_sigkill(path) -> None:
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITE, path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(5):
            line = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        acknowledged = int((rest or [line])[-1]) + 1
        with Ledger(path) as ledger:
            count = ledger.value("SELECT count(*) FROM images")
            assert count >= acknowledged * 50
            assert count % 50 == 0
            assert ledger.value("PRAGMA integrity_check") == "ok"


def test_a_large_transaction_is_not_held_in_memory(tmp_path: Path) -> None:
    """SQLite takes a multiple of 256 pages for 0, and then holds all that a transaction changes."""
    with Ledger(tmp_path / "ledger.db", create=True) as ledger:
        assert ledger.value("PRAGMA cache_spill") == SPILL_PAGES
