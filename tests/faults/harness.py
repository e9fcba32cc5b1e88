"""The fault harness: commands over a small project, killed, starved or disturbed, and what stands on the disk after them.

It knows dupekit from outside: the command line, and the files that `docs/files.md` names. Everything that a command can
change lies in one `Area`, which is put back to a prepared state before each trial.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HUNG_S = 60.0
"""No command of the harness takes a second on a quiet machine."""

STAMP = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:?\d\d(:?\d\d(\.\d+)?(\+00:00)?| UTC)")
SECONDS = re.compile(rb'("(?:seconds\w*|settled_us)": ?)[\d.e-]+')
LOOSE = ("*.log", "lock", "*.lock")
"""Files of which only the name is compared: what is in them depends on the course of things."""


@dataclass(frozen=True)
class Ended:
    """A command that has come to its end, by itself or not."""

    code: int
    said: str
    took_s: float


class Running:
    """A command at work."""

    def __init__(self, commands: Commands, arguments: Sequence[str], gate: Path | None) -> None:
        self._commands, self._gate = commands, gate
        self._output = commands.area.path.with_name(f"said-{commands.number}.txt")
        self._began = time.monotonic()
        if gate:
            gate.touch()
        order = {"argv": list(arguments), "output": str(self._output), "gate": gate and str(gate)}
        commands.tell(json.dumps(order))
        self.pid = int(commands.answer())

    def release(self) -> None:
        """Lets a command go on that was given with a gate."""
        if self._gate:
            self._gate.unlink()
            self._began = time.monotonic()

    def children(self) -> list[int]:
        """The processes that it has started, as workers are."""
        with contextlib.suppress(OSError):
            return [
                int(child)
                for listed in Path(f"/proc/{self.pid}/task").glob("*/children")
                for child in listed.read_text().split()
            ]
        return []

    def kill(self, *, number: int = signal.SIGKILL, session: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            if session:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def ended(self) -> Ended:
        """Waits for its end."""
        code = int(self._commands.answer(self.pid))
        return Ended(code, self._output.read_text(errors="replace"), time.monotonic() - self._began)

    def is_over(self) -> bool:
        return self._commands.has_answer()


class Commands:
    """Gives one command after the other; see serve.py. Two at once need two of these."""

    def __init__(self, area: Area, site: Path, number: int = 1) -> None:
        self.area, self.number = area, number
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "TMPDIR": str(area.temporary),
            area.MARK: str(area.path),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.serve"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.answer() == "ready"

    def tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def has_answer(self, wait_s: float = 0) -> bool:
        return bool(select.select([self._process.stdout], [], [], wait_s)[0])

    def answer(self, pid: int | None = None) -> str:
        """The server's next line, read byte by byte: `select` knows no buffer."""
        assert self._process.stdout
        line = b""
        while not line.endswith(b"\n"):
            if not self.has_answer(HUNG_S):
                if pid:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError("the command hangs")
            got = os.read(self._process.stdout.fileno(), 1)
            assert got, "the server of commands has died"
            line += got
        return line.decode().strip()

    def start(self, *arguments: str, gate: Path | None = None) -> Running:
        return Running(self, [self.area.in_place(one) for one in arguments], gate)

    def __call__(self, *arguments: str, codes: Sequence[int] = (0,)) -> Ended:
        """Gives a command and waits for its end; it must end with one of these codes, and never with a traceback."""
        done = self.start(*arguments).ended()
        assert "Traceback" not in done.said, done.said
        assert done.code in codes, f"{arguments} ended with {done.code}:\n{done.said}"
        return done

    def close(self) -> None:
        self._process.communicate(timeout=10)


@dataclass(frozen=True)
class Seen:
    """What stands in an area: every name with what is there, and the ledger's rows; nothing of times and random keys."""

    places: dict[str, str]
    ledger: dict[str, list[str]]

    def without(self, *beginnings: str) -> Seen:
        """But for the places that begin so."""
        return Seen({p: what for p, what in self.places.items() if not p.startswith(beginnings)}, self.ledger)

    def differences(self, other: Seen) -> list[str]:
        """In words, and none where they are equal."""
        found = []
        for what, ours, theirs in (
            ("place", self.places, other.places),
            ("table", self.ledger, other.ledger),
        ):
            for name in sorted(ours.keys() | theirs.keys()):
                mine, its = ours.get(name), theirs.get(name)
                if mine == its:
                    continue
                if isinstance(mine, list) and isinstance(its, list):
                    mine, its = (
                        [row for row in mine if row not in its],
                        [row for row in its if row not in mine],
                    )
                found.append(f"{what} {name}: {mine}, and should be {its}")
        return found


@dataclass
class Area:
    """A folder that holds dataset, project, review tree and corrected dataset, always under the same path.

    `data` is the dataset; commands name places as "@tree".
    """

    path: Path
    MARK = "DUPEKIT_FAULTS_AREA"
    saved: dict[str, Path] = field(default_factory=dict)

    @property
    def temporary(self) -> Path:
        return self.path / "tmp"

    def in_place(self, argument: str) -> str:
        """What "@name" stands for."""
        return str(self.path / argument[1:]) if argument.startswith("@") else argument

    def save(self, state: str) -> None:
        self.saved[state] = self.path.with_name(f"state-{state}")
        shutil.copytree(self.path, self.saved[state], symlinks=True)

    def restore(self, state: str) -> None:
        """Empties the folder, which itself stays: it may be a mount."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        shutil.copytree(self.saved[state], self.path, symlinks=True, dirs_exist_ok=True)

    def processes(self) -> list[int]:
        """Those that work for this area and were orphaned: workers."""
        mark = f"{self.MARK}={self.path}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = mark in (entry / "environ").read_bytes().split(b"\0")
                if ours and b"tests.faults.serve" not in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def wait_for_orphans(self) -> None:
        """Whoever lost its parent ends by itself, within seconds."""
        deadline = time.monotonic() + 15
        while left := self.processes():
            assert time.monotonic() < deadline, f"processes {left} do not end"
            time.sleep(0.01)

    def seen(self) -> Seen:
        ledgers = {path.parent: _Ledger.read(path) for path in sorted(self.path.glob("**/ledger.db"))}
        rows = {
            f"{folder.name}: {table}": content
            for folder, ledger in ledgers.items()
            for table, content in ledger.rows.items()
        }
        names = {name: known for ledger in ledgers.values() for name, known in ledger.names.items()}

        def known(text: bytes) -> bytes:
            for key, name in names.items():
                text = text.replace(key, name)
            return text

        places = {}
        for folder, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                path = Path(folder, name)
                if path.is_relative_to(self.temporary):
                    continue  # a process that was killed cannot clear away what it had there
                if path.name == "log.txt":
                    continue  # of a run, which may have failed once
                place = known(path.relative_to(self.path).as_posix().encode()).decode(errors="replace")
                places[place] = _description(path, known)
        return Seen(places, rows)

    def dataset(self) -> dict[str, tuple[str, int, int]]:
        """Each file of the dataset with digest, time and mode."""
        return {
            path.relative_to(self.path).as_posix(): (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
                path.lstat().st_mtime_ns if path.is_file() else 0,
                path.lstat().st_mode,
            )
            for path in sorted((self.path / "data").rglob("*"))
        }


def _description(path: Path, known: Callable[[bytes], bytes]) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return "neither file nor folder"
    if path.name == "ledger.db" or "cache" in path.parts or any(path.match(loose) for loose in LOOSE):
        return "file"
    content = path.read_bytes()
    if b"\0" not in content[:4096] and path.suffix not in (".png", ".npz", ".npy"):
        content = known(SECONDS.sub(rb"\1SECONDS", STAMP.sub(b"STAMP", content)))
        if len(content) < 400:
            return content.decode(errors="replace")
    return f"{oct(path.stat().st_mode)} {len(content)} bytes {hashlib.sha256(content).hexdigest()[:16]}"


@dataclass(frozen=True)
class _Ledger:
    rows: dict[str, list[str]]
    names: dict[bytes, bytes]
    """What stands for each random key."""

    @classmethod
    def read(cls, path: Path) -> _Ledger:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            names = {}
            if "exports" in tables:
                for number, (key,) in enumerate(db.execute("SELECT key FROM exports ORDER BY id"), 1):
                    names |= {key.encode(): b"KEY%d" % number, key[:8].encode(): b"KEY%d" % number}
            rows = {}
            for table in tables:
                found = db.execute(f"SELECT * FROM '{table}'")
                columns = [column[0] for column in found.description]
                lines = (
                    json.dumps(
                        {c: v for c, v in zip(columns, row, strict=True) if c != "seconds"}, default=repr
                    )
                    for row in found
                )
                rows[table] = sorted(_plain(line.encode(), names) for line in lines)
        return cls(rows, names)


def _plain(line: bytes, names: dict[bytes, bytes]) -> str:
    line = STAMP.sub(b"STAMP", line)
    for key, name in names.items():
        line = line.replace(key, name)
    return line.decode()


@contextlib.contextmanager
def area_in(folder: Path | None = None) -> Iterator[Area]:
    """A new area, in memory where the system has such: thousands of commands would wait for the disk otherwise."""
    memory = Path("/dev/shm")
    place = folder or (memory if os.access(memory, os.W_OK) else None)
    with tempfile.TemporaryDirectory(dir=place, prefix="dupekit-faults-") as name:
        path = Path(name, "area")
        (path / "tmp").mkdir(parents=True)
        yield Area(path)
