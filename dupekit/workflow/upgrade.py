"""The files of a project of an older dupekit are brought to their places, once, before its ledger is migrated.

Up to version 4 of the ledger the files of a round's last export lay in rounds/NN under plain names, as in "after.txt",
those of earlier ones as "after.1a2b3c4d.txt"; and the ledger held what watchers saw. Whatever is cut off is done by the
next command: the ledger is still the old one then.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.write import atomic_write, sync_folder
from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import Ledger, older
from dupekit.ledger.older import OldExport
from dupekit.review.event_log import EVENTS, event_lines
from dupekit.review.manifest import read_manifest

_NAMES = ("after.txt", "before.txt", "manifest.json")
"""The manifest last: it says whose the others are."""


def upgrade_files(root: Path, ledger: Ledger) -> None:
    """Brings the files of the project in `root` to their places, by a ledger that is not migrated yet."""
    # Not by the modules that read a ledger of today.
    for number, exports in groupby(sorted(older.exports(ledger), key=_round), key=_round):
        of_round, folder = list(exports), RoundFolder(root, number)
        if not folder.path.is_dir():
            continue
        _move(folder, "", _owner_of_plain(folder, of_round).key)
        for file in sorted(folder.path.glob("*.*.*")):
            _, key, _ = file.name.rsplit(".", 2)
            if re.fullmatch("[0-9a-f]{8}", key):
                _move(folder, f".{key}", key)
        for export in of_round:
            _write_events(folder.export(export.key), event_lines(older.events(ledger, export.number)))
        sync_folder(folder.path)


def _round(export: OldExport) -> int:
    return export.round


def _owner_of_plain(folder: RoundFolder, of_round: list[OldExport]) -> OldExport:
    """The export whose files have the plain names: the last one, but where dupekit was killed while it renamed them."""
    try:
        key = read_manifest(folder.path / "manifest.json").export
    except TreeUnavailable:
        return of_round[-1]
    for export in of_round:
        elsewhere = (folder.path / f"manifest.{key[:8]}.json", folder.export(key) / "manifest.json")
        if export.key == key and not any(file.exists() for file in elsewhere):
            return export
    return of_round[-1]


def _move(folder: RoundFolder, suffix: str, key: str) -> None:
    target = folder.export(key)
    for name in _NAMES:
        stem, _, extension = name.partition(".")
        file = folder.path / f"{stem}{suffix}.{extension}"
        if file.is_file() and not (target / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            file.rename(target / name)
            sync_folder(target)


def _write_events(target: Path, lines: bytes) -> None:
    if lines:
        target.mkdir(parents=True, exist_ok=True)
        with atomic_write(target / EVENTS) as file:
            file.write(lines)
