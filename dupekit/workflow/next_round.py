"""Next: the current round ends, and the next one begins on the corrected dataset."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from dupekit.errors import UsageError
from dupekit.files.names import escape, unescape
from dupekit.files.paths import absolute, relative
from dupekit.files.write import write_text
from dupekit.jobs.under_way import UnderWay
from dupekit.ledger import Ledger, applications, endings, rounds, verdicts
from dupekit.ledger.endings import Ending
from dupekit.ledger.rounds import Round
from dupekit.settings import FILE, parsed, with_dataset
from dupekit.system.progress import silent
from dupekit.system.stamp import user
from dupekit.workflow.executing import call_back
from dupekit.workflow.scan import Scan, check_place, find_changes, scan
from dupekit.workflow.session import Session
from dupekit.workflow.submitted import submitted, train_by
from dupekit.workflow.trees_out import trees_out, uncollected


@dataclass(frozen=True, slots=True)
class Switched:
    """A project whose dataset is another one, before that is written down."""

    session: Session
    text: str | None
    """What dupekit.toml says then; None: what it says now."""

    def write(self) -> None:
        if self.text is not None:
            write_text(self.session.root / FILE, self.text)


def next_round(session: Session, dataset: Path | None, *, who: str | None, drop: bool) -> Scan:
    """Ends the round, changes dupekit.toml, and scans. Raises UsageError where that would drop work, but with `drop`."""
    ledger = session.ledger
    latest = rounds.latest(ledger)
    begun = latest and endings.of_round(ledger, latest.number)
    if latest is None or (latest.closed and not (begun and _same(session, dataset, begun))):
        latest = rounds.current(ledger)
    setting = _next_dataset(session, dataset, latest, begun or None)
    switched = switch(session, setting)
    found = find_changes(switched.session, silent)  # before anything is recorded: it may not be there
    if latest.closed is None:
        if not drop:
            _refuse_unfinished(session, latest)
        call_back(UnderWay(session.folder(latest.number)))  # or it would go on for a round that has ended
        before = escape(session.settings.dataset)
        endings.begin(ledger, latest.number, who=who or user(), before=before, dataset=escape(setting))
    elif switched.text is None and found.is_scanned:
        rounds.current(ledger)  # it was not cut off: there is nothing left to do
    switched.write()
    if latest.closed is None:
        rounds.close(ledger, latest.number)
    return scan(switched.session, found, silent)


def switch(session: Session, setting: str) -> Switched:
    """The project on another dataset: what dupekit.toml is to say of it. Raises UsageError where that cannot be."""
    if setting == session.settings.dataset:
        return Switched(session, None)
    file, dataset = session.root / FILE, session.root / setting
    text = with_dataset(file, setting, own_links=_made_of_links(session.ledger, dataset))
    check_place(dataset, session.root)
    return Switched(replace(session, settings=parsed(text, file)), text)


def _next_dataset(session: Session, dataset: Path | None, ended: Round, begun: Ending | None) -> str:
    """The setting of the next round: as told, as a call that was cut off was told, else the last corrected dataset."""
    if dataset is not None:
        return _as_set(session, absolute(dataset))
    if begun:
        return unescape(begun.dataset) if begun.dataset else session.settings.dataset
    applied = applications.of_round(session.ledger, ended.number)
    return _as_set(session, Path(unescape(applied[-1].destination))) if applied else session.settings.dataset


def _as_set(session: Session, dataset: Path) -> str:
    """What the settings say of a dataset: relative to the project, where they said it so of the one that it lies beside."""
    if session.goes_along(dataset):
        return unescape(relative(escape(str(dataset)), session.root))
    return str(dataset)


def _same(session: Session, dataset: Path | None, begun: Ending) -> bool:
    """Whether a call means the dataset that an earlier one went on with."""
    known = session.root / unescape(begun.dataset) if begun.dataset else session.dataset
    return dataset is None or absolute(dataset) == absolute(known)


def _made_of_links(ledger: Ledger, dataset: Path) -> bool:
    """Whether dupekit made this dataset, of links."""
    place = escape(str(absolute(dataset)))
    modes = [one.mode for one in applications.every(ledger) if one.destination == place]
    return modes[:1] == ["symlink"]


def _refuse_unfinished(session: Session, current: Round) -> None:
    found = []
    if runs := submitted(session.folder(current.number)):
        command = train_by(runs.executor, session.settings.executor)
        found.append(f"{runs} Take them up: {command}. Or have --drop cancel them")
    for one in trees_out(session, current.number):
        tree = one.place
        if one.open:
            found.append(
                f"{tree} is out, with {one.open:,} of {one.images:,} images open: have it finished and collect it, or call it back:"
                f" dupekit withdraw {shlex.quote(tree)}"
            )
        if changed := uncollected(session, one):
            found.append(
                f"{tree} holds {_verdicts(changed)} not collected: dupekit collect {shlex.quote(tree)}"
            )
    if missing := verdicts.outstanding(session.ledger, current.number).corrections:
        found.append(f"{_corrections(missing)} in no corrected dataset yet: dupekit apply DEST")
    if found:
        raise UsageError(
            "\n- ".join([f"Round {current.number} is not finished:", *found]),
            hint="`dupekit next --drop` ends the round all the same. Until the next training, `dupekit undo` takes that back.",
        )


def _verdicts(number: int) -> str:
    return "1 verdict that is" if number == 1 else f"{number:,} verdicts that are"


def _corrections(number: int) -> str:
    return "1 correction is" if number == 1 else f"{number:,} corrections are"
