"""The ledger's file: opened, brought up to date, written in transactions.

A rollback journal, not WAL: WAL needs shared memory, which network file systems do not have.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from dupekit.errors import LedgerError, LedgerUnavailable
from dupekit.files.names import unescape
from dupekit.files.paths import placed, relative
from dupekit.ledger.migrations import migrations

FILE = "ledger.db"
"""Its name in a project's folder."""

BUSY_TIMEOUT_S = 30
COMMIT_TRIES = 20
"""Each as long as the timeout."""
SPILL_PAGES = 8_000
"""A transaction that changes more pages, 31 MiB, writes some before its end: from then on nobody else can read. SQLite's own limit of
500 is reached a tenth of the way through the predictions of a large run. No multiple of 256: SQLite takes that for 0, which is never."""
DAMAGED = "If it is damaged, restore it from a backup; `dupekit verify` looks at all of it."

_S = TypeVar("_S")
_T = TypeVar("_T")


class Rows:
    """What a query finds, read as it is asked for. All raise LedgerError where SQLite cannot read on."""

    def __init__(self, path: Path, cursor: sqlite3.Cursor) -> None:
        self._path, self._cursor = path, cursor

    def __iter__(self) -> Iterator[Any]:
        with _in_words(self._path):
            for row in self._cursor:  # noqa: UP028 - it would close the cursor, perhaps after the ledger
                yield row

    def fetchone(self) -> Any:
        with _in_words(self._path):
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        with _in_words(self._path):
            return self._cursor.fetchall()


class Ledger:
    """An open ledger. Use it as a context manager, or `close` it.

    All that reads or writes raises LedgerError where SQLite cannot: the file is damaged, the disk is full, another program
    holds it.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        read_only: bool = False,
        before_migrating: Callable[[Ledger], None] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Opens a ledger; one of an older dupekit is brought up to date.

        `before_migrating` gets the old one first, in the same transaction: a new schema may leave to the project's files
        what the old one held. Without it, and with `read_only`, an older ledger is refused, and nothing is written.
        Raises LedgerError where there is none, or a file that holds nothing of a ledger; with `create` one is made where
        there is none yet, or an empty file, as one that was killed here leaves it. One that another program has locked is
        waited for `timeout_s`, default half a minute.
        """
        if not create and not path.is_file():
            raise LedgerError(
                f"The ledger {path} is missing.",
                hint="Restore it from a backup, or make a new project with `dupekit init`.",
            )
        self.path = path
        self.project = path.absolute().parent.resolve()
        """The folder that it lies in."""
        self._apart = False
        # As a URI, which needs "?", "#" and "%" of a path escaped; as_uri does that.
        name = f"{path.absolute().as_uri()}?mode=ro" if read_only else str(path)
        with _in_words(path):
            self.connection = sqlite3.connect(
                name,
                timeout=BUSY_TIMEOUT_S if timeout_s is None else timeout_s,
                isolation_level=None,
                uri=read_only,
            )
        try:
            with _in_words(path):
                self.connection.create_function("placed", 1, lru_cache(self._placed), deterministic=True)
                self._prepare(None if read_only else before_migrating, create=create)
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block is recorded, or nothing."""
        with _in_words(self.path):
            try:
                # Where only copies are written, nobody else is to wait.
                self.connection.execute("BEGIN" if self._apart else "BEGIN IMMEDIATE")
                yield self.connection
                self._commit()
            except BaseException:
                if self.connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):  # what went wrong first is what to say
                        self.connection.execute("ROLLBACK")
                raise

    def _commit(self) -> None:
        """Waits for those who read just now, for longer than for others who write: a night's training is not to end because somebody
        verifies a large ledger."""
        for left in reversed(range(COMMIT_TRIES)):
            try:
                self.connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if not left or not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                    raise
            else:
                return

    @contextlib.contextmanager
    def apart(self, *names: str) -> Iterator[None]:
        """Within it these tables and views are copies as they are now: what others record is not seen in them, what is written
        to them nobody else sees, and afterwards it is gone. No other table may be written.

        SQLite takes a temporary table before one, or a view, of its name; so does every query.
        """
        before, self._apart = self._apart, True
        try:
            for name in names:
                # Of a view its own query, not the view: so it reads the copies that there are already.
                view = self.value(
                    "SELECT substr(sql, instr(sql, ' AS') + 3) FROM main.sqlite_master WHERE type = 'view' AND name = ?",
                    (name,),
                )
                self.rows(f"CREATE TEMP TABLE {name} AS {view or f'SELECT * FROM main.{name}'}")
            yield
        finally:
            self._apart = before
            for name in names:
                with contextlib.suppress(
                    LedgerError
                ):  # while an error ends a query halfway, its table cannot go
                    self.rows(f"DROP TABLE IF EXISTS temp.{name}")

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> Rows:
        """Runs a query."""
        with _in_words(self.path):
            return Rows(self.path, self.connection.execute(sql, values))

    def value(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.rows(sql, values).fetchone()
        return row and row[0]

    def as_recorded(self, place: str, *, movable: bool = False) -> str:
        """What is recorded of a place, which is absolute and escaped: what lies in the project's folder, or is `movable` with it, relative
        to that; in queries "placed(column)" is the place again."""
        within = Path(unescape(place)).is_relative_to(self.project)
        return relative(place, self.project) if within or movable else place

    def _placed(self, text: Any) -> Any:
        return placed(text, self.project) if isinstance(text, str) and text else text

    def schema(self) -> str:
        """The schema as SQL, without SQLite's and sqlite-utils' own tables."""
        found = self.rows(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '%sqlite_%' ORDER BY rowid"
        )
        return "".join(f"{sql};\n" for (sql,) in found)

    def _prepare(self, before_migrating: Callable[[Ledger], None] | None, *, create: bool) -> None:
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(f"PRAGMA cache_spill = {SPILL_PAGES}")
        db = Database(self.connection, execute_plugins=False)  # which no broken distribution shall stop
        new = create and not self.value(
            "SELECT count(*) FROM sqlite_master"
        )  # asked first: another may be making it
        applied = {migration.name for migration in migrations.applied(db)}
        if not applied and not new:
            empty = not self.path.stat().st_size
            raise LedgerError(
                f"The ledger {self.path} {'is empty' if empty else 'holds nothing of dupekit'}.",
                hint="Restore it from a backup: what is recorded stands in no other file.",
            )
        newer = applied - {migration.name for migration in migrations._migrations}
        if newer:
            raise LedgerError(
                f"The ledger {self.path} was written by a newer dupekit (it has {', '.join(sorted(newer))}).",
                hint="Open it with that release or a later one.",
            )
        if not migrations.pending(db):
            return
        if applied and before_migrating is None:
            raise LedgerError(
                f"The ledger {self.path} was written by an older dupekit.",
                hint="Any other command brings it up to date, such as `dupekit status`.",
            )
        with self.write():  # two processes at once: the second waits, then finds nothing pending
            if applied and before_migrating and migrations.pending(db):
                before_migrating(self)
            migrations.apply(db)


def as_columns(rows: Iterable[tuple[Any, ...]], dtypes: str) -> list[NDArray[Any]]:
    """An array a column, in memory of its own: a field of a table of all would be copied by every search in it."""
    table = np.fromiter(rows, np.dtype(dtypes))
    return [np.ascontiguousarray(table[name]) for name in table.dtype.names or ()]


def understood(read: Callable[[_S], _T], found: _S) -> _T:
    """What a value of the ledger means. Raises LedgerError where it is none that `read`, with a ValueError, takes."""
    try:
        return read(found)
    except ValueError:
        raise LedgerError(
            f"The ledger is damaged: it holds {repr(found)[:60]}, which dupekit never wrote.", hint=DAMAGED
        ) from None


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """SQLite's errors of the block as dupekit's."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a fault of dupekit's, not of the ledger
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter in the message of an error
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> LedgerError:
    name = getattr(error, "sqlite_errorname", "")  # absent where Python cannot read what SQLite can
    if name == "SQLITE_READONLY_ROLLBACK":
        return LedgerUnavailable(
            f"The ledger {path} was left half written by a process that was killed, and is opened only for reading here.",
            hint="Nothing is lost. Any command that may write it, such as `dupekit status`, takes the half step back.",
        )
    what = f"The ledger {path} cannot be used: {error}."
    nothing = "Nothing of this step was recorded."
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        hint = f"Another program holds it. Close that program, and try again. {nothing}"
        return LedgerUnavailable(what, hint=hint)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return LedgerError(what, hint=f"{nothing} Make room, or see that its disk is there; then try again.")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return LedgerError(what, hint=f"{nothing} See that you may read and write it, and its folder.")
    return LedgerError(what, hint=DAMAGED)
