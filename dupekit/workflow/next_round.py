"""Next: the current round ends, and the next one begins on the corrected dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute
from dupekit.ledger import applications, rounds
from dupekit.settings import FILE, change_settings
from dupekit.system.progress import silent
from dupekit.workflow.scan import Scan, check_place, listed, scan
from dupekit.workflow.session import Session


def next_round(session: Session, dataset: Path | None) -> Scan:
    """Closes the round, changes dupekit.toml, and scans."""
    ledger = session.ledger
    current = rounds.current(ledger)
    applied = applications.of_round(ledger, current.number)
    if dataset is None and applied:
        dataset = Path(unescape(applied[-1].destination))
    changes: dict[str, Any] = {}
    if dataset is not None:
        dataset = absolute(dataset)
        changes["dataset"] = str(dataset)
        if any((one.destination, one.mode) == (escape(str(dataset)), "symlink") for one in applied):
            changes["follow_symlinks"] = True  # dupekit made these links itself
        session = replace(session, settings=session.settings.model_copy(update=changes))
        check_place(dataset, session.root)
    listing = listed(session, silent)  # before anything is recorded: it may not be there
    if changes:
        change_settings(session.root / FILE, **changes)
    rounds.close(ledger, current.number)
    return scan(session, listing, every=False, progress=silent)
