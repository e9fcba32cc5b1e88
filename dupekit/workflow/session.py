"""An open project: what every function of `workflow` takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dupekit.errors import LedgerError
from dupekit.files.lock import exclusive
from dupekit.files.names import escape
from dupekit.files.paths import absolute
from dupekit.files.write import clear_partials
from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import Ledger, integrity
from dupekit.ledger.database import DAMAGED, FILE
from dupekit.settings import Settings
from dupekit.workflow.upgrade import upgrade_files

LEDGER = FILE
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Session:
    """A project whose ledger is open, and its settings."""

    ledger: Ledger
    root: Path
    """The project's folder."""
    settings: Settings

    @property
    def dataset(self) -> Path:
        return self.root / self.settings.dataset  # an absolute setting stands for itself

    @property
    def place(self) -> str:
        """Where the dataset lies: absolute, escaped."""
        return escape(str(absolute(self.dataset)))

    @property
    def movable(self) -> bool:
        """Whether the dataset goes with the project, for its settings name it relative to that."""
        return not Path(self.settings.dataset).is_absolute()

    def goes_along(self, dataset: Path) -> bool:
        """Whether this one, an absolute path, goes with the project, too: it lies beside the dataset."""
        return self.movable and dataset.parent == absolute(self.dataset).parent

    def folder(self, round_number: int) -> RoundFolder:
        return RoundFolder(self.root, round_number)


@contextlib.contextmanager
def reading(root: Path, settings: Settings) -> Iterator[Session]:
    """A session that others may write beside. The ledger of an older dupekit is brought up to date first, and so are the
    project's files."""
    with Ledger(root / LEDGER, before_migrating=partial(upgrade_files, root)) as ledger:
        try:
            yield Session(ledger, root, settings)
        except (LookupError, TypeError, ValueError) as error:
            # SQLite reads rubbish as well, and where that leads nobody can foresee.
            for fault in integrity.faults(ledger):
                what = f"The ledger {ledger.path} is damaged: {fault.where} says {fault.how}."
                raise LedgerError(what, hint=DAMAGED) from error
            raise


@contextlib.contextmanager
def writing(root: Path, settings: Settings, what: str) -> Iterator[Session]:
    """A session while no other dupekit writes. The system frees the lock of a process that dies.

    `what` names the command. Raises LockedError at once where another one is at work.
    """
    with exclusive(root / LOCK, what):
        _clear(root)
        with reading(root, settings) as session:
            yield session


def _clear(root: Path) -> None:
    """Removes the halves of files that killed commands left. In an export's folder a watcher may be at work."""
    for folder in (root, *root.glob("rounds/[0-9]*"), *root.glob("rounds/[0-9]*/splits")):
        clear_partials(folder)
    for folder in root.glob("rounds/[0-9]*/exports/*"):
        clear_partials(folder, older_than_s=3600)
