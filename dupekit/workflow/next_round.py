"""Next: the current round ends, and the next one begins on the corrected dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dupekit.dataset.scan import DatasetListing
from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute
from dupekit.files.write import write_text
from dupekit.ledger import Ledger, applications, rounds
from dupekit.settings import FILE, parsed, with_dataset
from dupekit.system.progress import silent
from dupekit.workflow.scan import Scan, check_place, is_scanned, listed, scan
from dupekit.workflow.session import Session


def next_round(session: Session, dataset: Path | None) -> Scan:
    """Closes the round, changes dupekit.toml, and scans."""
    ledger, file = session.ledger, session.root / FILE
    if (cut_off := _cut_off(session, dataset)) is not None:
        return scan(session, cut_off, every=False, progress=silent)
    current = rounds.current(ledger)
    applied = applications.of_round(ledger, current.number)
    if dataset is None and applied:
        dataset = Path(unescape(applied[-1].destination))
    text = None
    if dataset is not None:
        dataset = absolute(dataset)
        text = with_dataset(file, str(dataset), own_links=_made_of_links(ledger, dataset))
        session = replace(session, settings=parsed(text, file))
        check_place(dataset, session.root)
    listing = listed(session, silent)  # before anything is recorded: it may not be there
    if text is not None:
        write_text(file, text)
    rounds.close(ledger, current.number)
    return scan(session, listing, every=False, progress=silent)


def _made_of_links(ledger: Ledger, dataset: Path) -> bool:
    """Whether dupekit made this dataset, of links."""
    place = escape(str(dataset))
    modes = [one.mode for one in applications.every(ledger) if one.destination == place]
    return modes[:1] == ["symlink"]


def _cut_off(session: Session, dataset: Path | None) -> DatasetListing | None:
    """What is to be scanned, where a `next` to this dataset was killed after it had ended the round."""
    latest = rounds.latest(session.ledger)
    if latest is None or latest.closed is None or (dataset and absolute(dataset) != session.dataset):
        return None
    listing = listed(session, silent)
    return None if is_scanned(session, listing) else listing
