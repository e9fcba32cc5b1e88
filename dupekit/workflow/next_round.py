"""Next: the current round ends, and the next one begins on the corrected dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute
from dupekit.ledger import review, rounds
from dupekit.settings import FILE, change_settings
from dupekit.system.progress import silent
from dupekit.workflow.scan import Scan, check_dataset, scan
from dupekit.workflow.session import Session


def next_round(session: Session, dataset: Path | None) -> Scan:
    """Closes the round, changes dupekit.toml, and scans."""
    ledger = session.ledger
    current = rounds.current(ledger)
    applied = review.applications(ledger, current.number)
    if dataset is None and applied:
        dataset = Path(unescape(applied[-1][0]))
    if dataset is not None:
        dataset = absolute(dataset)
        changes: dict[str, Any] = {"dataset": str(dataset)}
        if any((place, mode) == (escape(str(dataset)), "symlink") for place, mode, _ in applied):
            changes["follow_symlinks"] = True  # dupekit made these links itself
        settings = session.settings.model_copy(update=changes)
        check_dataset(dataset, session.root, follow_symlinks=settings.follow_symlinks)
        change_settings(session.root / FILE, **changes)
        session = replace(session, settings=settings)
    rounds.close(ledger, current.number)
    return scan(session, every=False, progress=silent)
