"""Where a project keeps what belongs to an export: rounds/NN/exports/KEY, a folder for each, named after the first eight
digits of its key and never renamed. Which export is the latest, the ledger says.

The folder is written and the export recorded before the tree appears, so there is no time at which a tree is out that
the project does not know. A folder that the ledger has no export for, and an export whose tree still has its hidden name, were
cut off, and the round's next export clears them away.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.names import unescape
from dupekit.files.write import sync_folder, write_lines
from dupekit.ledger import exports, rounds
from dupekit.ledger.exports import Export, ExportedImage
from dupekit.review.event_log import EVENTS
from dupekit.review.manifest import MARKER, Manifest, read_manifest, write_manifest
from dupekit.review.verdicts import tree_manifest
from dupekit.review.write_tree import partial_of
from dupekit.workflow.session import Session


def keep(folder: Path, manifest: Manifest) -> None:
    """Writes what is known of an export into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sync_folder(folder.parent)
    write_lines(folder / "before.txt", [file.path for file in manifest.files])
    write_manifest(manifest, folder / "manifest.json")


def is_cut_off(export: Export) -> bool:
    """Whether the export was killed before its tree had its name."""
    return partial_of(Path(unescape(export.tree)), export.key).is_dir()


def clear_cut_off(session: Session, round_number: int) -> None:
    """Removes what exports of the round left that were killed before anybody could see their trees."""
    for export in filter(is_cut_off, exports.of_round(session.ledger, round_number)):
        exports.forget(session.ledger, export.key)
        shutil.rmtree(partial_of(Path(unescape(export.tree)), export.key), ignore_errors=True)
    recorded = {export.key[:8] for export in exports.of_round(session.ledger, round_number)}
    for folder in (session.folder(round_number).path / "exports").glob("*"):
        # What was collected or watched was recorded once: an older ledger was put back.
        used = any((folder / name).exists() for name in ("after.txt", EVENTS))
        if re.fullmatch("[0-9a-f]{8}", folder.name) and folder.name not in recorded and not used:
            shutil.rmtree(folder)


def manifest_of(session: Session, export: Export, tree: Path | None = None) -> Manifest:
    """The project's own copy of an export's manifest: the one that is believed. Where it is missing or damaged, that
    of the tree (default: where it was exported to) if it agrees with the ledger, else raises TreeUnavailable."""
    try:
        return _own(session, export)
    except TreeUnavailable as error:
        return _carried(session, export, tree, error.message)


def mend(session: Session, export: Export, tree: Path) -> list[str]:
    """Puts the manifest of an export back from the tree's copy where the project's own is missing or damaged, and says so.

    Raises TreeUnavailable where the tree's copy does not agree with the ledger.
    """
    try:
        _own(session, export)
    except TreeUnavailable as error:
        manifest = _carried(session, export, tree, error.message)
        folder = session.folder(export.round).export(export.key)
        aside = ""
        if (folder / "manifest.json").is_file():  # nothing is overwritten unseen
            damaged = (folder / "manifest.json").replace(folder / "manifest.damaged.json")
            aside = f" What stood there is {damaged.name} now."
        keep(folder, manifest)
        return [f"{error.message} It was restored from the tree's copy, which agrees with the ledger.{aside}"]
    return []


def differing(manifest: Manifest, known: Mapping[str, ExportedImage]) -> list[str]:
    """The paths that a manifest and the ledger do not say the same of, sorted."""
    said = {f.path: (f.original, f.digest, f.stratum, f.population) for f in manifest.files}
    recorded = {path: (i.original, i.digest, i.stratum, i.population) for path, i in known.items()}
    return sorted(path for path in said.keys() | recorded.keys() if said.get(path) != recorded.get(path))


def _own(session: Session, export: Export) -> Manifest:
    file = session.folder(export.round).export(export.key) / "manifest.json"
    found = read_manifest(file)
    if found.export != export.key:
        raise TreeUnavailable(f"{file} is the manifest of another export.")
    return found


def _carried(session: Session, export: Export, tree: Path | None, why: str) -> Manifest:
    """The manifest that the tree carries, if it agrees with the ledger. `why` the project's own is none."""
    tree = tree or Path(unescape(export.tree))
    try:
        found = tree_manifest(tree)
        fault = _fault(session, export, found)
    except TreeUnavailable as error:
        fault = error.message.rstrip(".")
    if not fault:
        return found
    raise TreeUnavailable(
        f"{why} The copy in {tree / MARKER} cannot take its place: {fault}.",
        hint="Restore either of the two from a backup; nothing was recorded. `dupekit export` makes a new tree, which"
        " does not need them, but what was done in this one can then not be collected.",
    )


def _fault(session: Session, export: Export, found: Manifest) -> str | None:
    """Where a manifest says something else than the ledger; it decides which labels images get."""
    if found.export != export.key:
        return "it is the manifest of another export"
    known = exports.files(session.ledger, export.number)
    wrong = differing(found, known)
    # With pairs that were trained since, votes are others, and so may suggestions be.
    same_pairs = rounds.get(session.ledger, export.round).tallied_pairs == found.pairs
    for file in [] if wrong else found.files:
        image = known[file.path]
        right = file.given == image.given == found.folders.get(file.path.partition("/")[0])
        if not right or (same_pairs and (file.suggested, file.votes) != (image.suggested, image.votes)):
            wrong.append(file.path)
    return f"it differs from the ledger in {len(wrong)} files, such as {wrong[0]}" if wrong else None
