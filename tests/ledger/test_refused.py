"""A ledger that is empty, damaged, held by another program or left half written: every command says so in words."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dupekit.cli.app import exit_code
from dupekit.errors import LedgerError, LedgerUnavailable, UsageError
from dupekit.ledger import Ledger, database, images
from dupekit.project import Project
from dupekit.review.ignore_list import to_csv

IMAGE = "ciliate/wrong_amoeba.png"
# `train` last, but for what needs no round: what is lost is not to be made anew before it was asked for.
COMMANDS = """
status; history; history IMAGE; ignore list; ignore export LIST; verify --quick; train --dry-run; apply --dry-run OUT;
flag; export TREE; collect; withdraw; ignore add IMAGE; ignore remove IMAGE; ignore import IGNORED; undo; scan; apply FIXED; next;
train --trainer fake --validator fake
"""

Run = Callable[[str], tuple[int, str]]


@pytest.fixture
def reviewed(trained: Project, tmp_path: Path) -> Project:
    trained.flag(threshold=3)
    trained.ignore(["amoeba/0003.png"])
    (tmp_path / "ignored.csv").write_text(to_csv(trained.ignores()))
    trained.export(tmp_path / "first")
    trained.collect(finished=["amoeba", "ciliate"])
    trained.apply(tmp_path / "applied")
    return trained


@pytest.fixture
def run(reviewed: Project, tmp_path: Path, monkeypatch, capsys) -> Run:
    """Runs a command in this process: what it does not turn into words ends the test."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    places = {"IMAGE": IMAGE, "IGNORED": str(tmp_path / "ignored.csv")}
    places |= {name: str(tmp_path / name) for name in ("OUT", "TREE", "FIXED", "LIST")}

    def run(command: str) -> tuple[int, str]:
        words = [places.get(word, word) for word in command.split()]
        monkeypatch.setattr(sys, "argv", ["dupekit", *words, "-p", str(reviewed.path)])
        code = exit_code()
        said = capsys.readouterr()
        return code, said.err + said.out

    return run


def each() -> Iterator[str]:
    return (" ".join(command.split()) for command in COMMANDS.split(";"))


def another_programs(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE photos (id INTEGER)")
    db.close()


MADE_UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: file.write_bytes(b""), "is empty"),
    "another program's": (another_programs, "holds nothing of dupekit"),
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:6000]), "cannot be used"),
}


@pytest.mark.parametrize("how", MADE_UNUSABLE)
def test_every_command_refuses_it_and_changes_nothing(reviewed: Project, run: Run, how: str) -> None:
    spoil, expected = MADE_UNUSABLE[how]
    file = reviewed.path / "ledger.db"
    spoil(file)
    content = file.read_bytes()
    for command in each():
        code, said = run(command)
        assert (code, expected in said) == (1, True), (command, code, said)
        assert command.startswith("verify") or "backup" in said, said
        assert file.read_bytes() == content, command


def test_damaged_pages_end_no_command_with_a_traceback(reviewed: Project, run: Run) -> None:
    file = reviewed.path / "ledger.db"
    sound = file.read_bytes()
    refused = 0
    rng = random.Random(1)
    with Ledger(file) as ledger:
        size = ledger.value("PRAGMA page_size")
    for _ in range(12):
        damaged = bytearray(sound)
        for page in rng.sample(range(1, len(sound) // size), 3):
            at = page * size + rng.choice([0, size // 2])
            damaged[at : at + size // 2] = rng.randbytes(size // 2)
        for command in each():
            file.write_bytes(damaged)
            code, said = run(command)
            assert code in (0, 1, 2, 3), command
            refused += "The ledger" in said
    assert refused > 12


@pytest.mark.parametrize(
    ("written", "instead", "command"),
    [
        (b"relabel", b"relapse", "collect"),
        (b"relabel", b"relapse", "status"),
        (b"done", b"dine", "status"),
        (b'"trainer"', b'"retrain"', "train --dry-run"),
    ],
)
def test_a_word_that_dupekit_never_wrote_is_damage(
    reviewed: Project, run: Run, written: bytes, instead: bytes, command: str
) -> None:
    file = reviewed.path / "ledger.db"
    content = file.read_bytes()
    assert written in content
    file.write_bytes(re.sub(rb"(?<!un)" + written, instead, content))  # "undone" is the name of a column
    code, said = run(command)
    assert (code, "which dupekit never wrote" in said) == (1, True), said


@pytest.mark.parametrize("number", [0, 99])
def test_an_image_of_no_class_is_damage(reviewed: Project, run: Run, number: int) -> None:
    reviewed.next_round(drop=True)
    with contextlib.closing(sqlite3.connect(reviewed.path / "ledger.db")) as db, db:  # foreign keys are off
        db.execute("UPDATE images SET class = ? WHERE id = 3", (number,))
    code, said = run("train --dry-run --trainer fake --validator fake")
    assert (code, "is of a class that it does not have" in said) == (1, True), said


def test_rubbish_that_sqlite_can_read_is_damage(reviewed: Project, run: Run) -> None:
    """A byte in the table of classes, so that it and its index say otherwise: SQLite looks at either."""
    for _ in range(2):  # so that there is something to export
        reviewed.undo()
    reviewed.withdraw()
    file = reviewed.path / "ledger.db"
    with Ledger(file) as ledger:
        page = ledger.value("SELECT rootpage FROM sqlite_master WHERE name = 'classes'")
        size = ledger.value("PRAGMA page_size")
    content = bytearray(file.read_bytes())
    at = content.index(b"amoeba", (page - 1) * size, page * size)
    content[at : at + 6] = b"amoeVa"
    file.write_bytes(content)
    for command in ("export TREE", "verify"):
        code, said = run(command)
        assert (code, "missing from index" in said) == (1, True), said


def test_a_manifest_with_a_file_that_the_ledger_does_not_know_is_said(reviewed: Project, run: Run) -> None:
    file = reviewed.folder_of(reviewed.tree()[0]) / "manifest.json"
    document = json.loads(file.read_text())
    document["files"].append({**document["files"][0], "path": "amoeba/another.png"})
    file.write_text(json.dumps(document))
    code, said = run("collect --yes")
    assert (code, "'amoeba/another.png'" in said, "verify" in said) == (1, True, True), said


@pytest.fixture
def held(reviewed: Project) -> Iterator[sqlite3.Connection]:
    """By another program, which lets nobody read."""
    other = sqlite3.connect(reviewed.path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield other
    other.close()


def test_a_ledger_that_another_program_holds_is_said_to_be_held(held, run: Run) -> None:
    for command in each():
        code, said = run(command)
        assert (code, "database is locked" in said, "Close that program" in said) == (1, True, True), said
    held.execute("ROLLBACK")
    assert run("verify --quick")[0] == 0


def test_reading_goes_on_where_another_program_only_means_to_write(held, run: Run) -> None:
    held.execute("ROLLBACK")
    held.execute("BEGIN IMMEDIATE")
    assert run("status")[0] == 0
    assert run("verify --quick")[0] == 0
    assert run("flag")[0] == 0  # which changes nothing
    code, said = run("flag --threshold 2")
    assert (code, "Close that program" in said) == (1, True)


WRITE_HALF = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.executemany("INSERT INTO classes (name) VALUES (?)", [(f"{i:0500}",) for i in range(1000)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_verify_says_what_a_killed_writer_left_and_calls_it_no_damage(reviewed: Project, run: Run) -> None:
    file = reviewed.path / "ledger.db"
    ended = subprocess.run([sys.executable, "-c", WRITE_HALF, file], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (reviewed.path / "ledger.db-journal").stat().st_size > 0
    content = file.read_bytes()
    with pytest.raises(LedgerUnavailable, match="half written") as caught:
        reviewed.verify()
    assert "`dupekit status`" in caught.value.hint
    assert run("verify")[0] == 1
    assert file.read_bytes() == content
    assert run("status")[0] == 0
    assert reviewed.verify().differences == []


def test_init_makes_no_ledger_where_one_is(reviewed: Project, dataset: Path, tmp_path: Path) -> None:
    (reviewed.path / "dupekit.toml").unlink()
    content = (reviewed.path / "ledger.db").read_bytes()
    with pytest.raises(UsageError, match="holds the ledger of a project") as caught:
        Project.create(dataset, reviewed.path)
    assert "dupekit.toml" in caught.value.hint
    assert (reviewed.path / "ledger.db").read_bytes() == content
    assert not (reviewed.path / "dupekit.toml").exists()
    another_programs(reviewed.path / "ledger.db")
    with pytest.raises(LedgerError, match="holds nothing of dupekit"):
        Project.create(dataset, reviewed.path)


@pytest.mark.parametrize("left", ["empty", "complete"])
def test_init_that_was_killed_is_finished_by_the_same_command(
    dataset: Path, tmp_path: Path, left: str
) -> None:
    made = Project.create(dataset, tmp_path / "new")
    (made.path / "dupekit.toml").unlink()
    if left == "empty":
        (made.path / "ledger.db").write_bytes(b"")
    again = Project.create(dataset, tmp_path / "new")
    assert again.scan().images == 36


def test_an_error_while_rows_are_read_is_one_of_the_ledger(reviewed: Project, tmp_path: Path) -> None:
    file = Path(shutil.copy(reviewed.path / "ledger.db", tmp_path / "ledger.db"))
    with Ledger(file) as ledger:
        page, size = ledger.value("SELECT rootpage FROM sqlite_master WHERE name = 'images'"), 4096
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : page * size] = bytes(size)
    file.write_bytes(content)
    with Ledger(file) as ledger:
        for query in (images.readable, images.count_present, lambda ledger: list(images.present(ledger))):
            with pytest.raises(LedgerError, match="malformed") as caught:
                query(ledger)
            assert "backup" in caught.value.hint
        with pytest.raises(LedgerError, match="malformed"), ledger.write() as db:
            db.execute("UPDATE images SET size = 2")
