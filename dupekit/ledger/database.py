"""The ledger's file: opened, brought up to date, written in transactions.

A rollback journal, not WAL: WAL needs shared memory, which network file systems do not have.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from dupekit.errors import LedgerError
from dupekit.ledger.migrations import migrations

BUSY_TIMEOUT_S = 30


class Ledger:
    """An open ledger. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        read_only: bool = False,
        before_migrating: Callable[[Ledger], None] | None = None,
    ) -> None:
        """Opens a ledger; one of an older dupekit is brought up to date.

        `before_migrating` gets the old one first, in the same transaction: a new schema may leave to the project's files
        what the old one held. Without it, and with `read_only`, an older ledger is refused, and nothing is written.
        Raises LedgerError where there is none (unless `create`), where the file is damaged, and where a newer dupekit has
        written it.
        """
        if not create and not path.is_file():
            raise LedgerError(
                f"The ledger {path} is missing.",
                hint="Restore it from a backup, or make a new project with `dupekit init`.",
            )
        self.path = path
        # As a URI, which needs "?", "#" and "%" of a path escaped; as_uri does that.
        name = f"{path.absolute().as_uri()}?mode=ro" if read_only else str(path)
        self.connection = sqlite3.connect(name, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=read_only)
        try:
            self._prepare(None if read_only else before_migrating)
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise LedgerError(
                f"The ledger {path} cannot be used: {error}.",
                hint="If another program holds it, close that program; if it is damaged, restore a backup.",
            ) from None
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
        """A transaction: all of the block is recorded, or nothing.

        Raises LedgerError where SQLite cannot write: the disk is full, another program holds the file.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise LedgerError(
                    f"The ledger {self.path} cannot be written: {error}.",
                    hint="Nothing of this step was recorded. Make room, or close what holds it; then try again.",
                ) from None
            raise

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Runs a query."""
        return self.connection.execute(sql, values)

    def value(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.connection.execute(sql, values).fetchone()
        return row and row[0]

    def schema(self) -> str:
        """The schema as SQL, without SQLite's and sqlite-utils' own tables."""
        found = self.rows(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '%sqlite_%' ORDER BY rowid"
        )
        return "".join(f"{sql};\n" for (sql,) in found)

    def _prepare(self, before_migrating: Callable[[Ledger], None] | None) -> None:
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.execute("PRAGMA synchronous = FULL")
        db = Database(self.connection)
        applied = {migration.name for migration in migrations.applied(db)}
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
