"""Where a project keeps what an export holds: manifest.json, before.txt and after.txt in the round's folder.

The round's last export has the plain names, as in "after.txt", earlier ones "after.1a2b3c4d.txt". A new export is
kept under such a name, too, before its tree is written, and gets the plain ones when it is recorded; so there is no
time at which a tree is out, or recorded, that the project could not read.
"""

from __future__ import annotations

from pathlib import Path

from dupekit.errors import TreeUnavailable
from dupekit.files.names import unescape
from dupekit.files.write import write_lines
from dupekit.jobs.folder import RoundFolder
from dupekit.ledger import Ledger, review, rounds
from dupekit.ledger import integrity as check
from dupekit.review.manifest import MARKER, Manifest, read_manifest, write_manifest
from dupekit.review.verdicts import tree_manifest

_NAMES = (
    "after.txt",
    "before.txt",
    "manifest.json",
)  # the manifest last: it says that names are still to be changed


def listing_of(ledger: Ledger, project: Path, export: review.Export, name: str) -> Path:
    """As `Project.listing_of`."""
    file = RoundFolder(project, export.round).path / name
    last = review.exports(ledger, export.round)[-1]
    return file if export.key == last.key else _renamed(file, export.key)


def keep(folder: Path, manifest: Manifest) -> None:
    """Keeps a manifest whose export is not recorded yet, in a round's folder."""
    write_lines(_renamed(folder / "before.txt", manifest.export), [file.path for file in manifest.files])
    write_manifest(manifest, _renamed(folder / "manifest.json", manifest.export))


def forget(folder: Path, manifest: Manifest) -> None:
    """Takes back `keep`: the tree was not written."""
    for name in _NAMES:
        _renamed(folder / name, manifest.export).unlink(missing_ok=True)


def name_latest(ledger: Ledger, project: Path, round_number: int) -> None:
    """Gives the plain names to the round's last export; also where the process that was to do it was killed."""
    exports = review.exports(ledger, round_number)
    folder = RoundFolder(project, round_number).path
    if not exports or not _renamed(folder / "manifest.json", exports[-1].key).is_file():
        return
    for name in _NAMES:  # of the export before, whose tree may still be out
        file = folder / name
        if len(exports) > 1 and file.is_file() and not _renamed(file, exports[-2].key).exists():
            file.rename(_renamed(file, exports[-2].key))
    for name in _NAMES:
        file = _renamed(folder / name, exports[-1].key)
        if file.is_file():
            file.replace(folder / name)


def manifest_of(ledger: Ledger, project: Path, export: review.Export, tree: Path | None = None) -> Manifest:
    """As `Project.manifest_of`. Writes nothing."""
    found, why = _kept(ledger, project, export)
    return found or _carried(ledger, export, tree, why)


def mend(ledger: Ledger, project: Path, export: review.Export, tree: Path) -> list[str]:
    """Puts the manifest of an export back from the tree's copy where the project's own is missing or damaged, and says so.

    Raises TreeUnavailable where the tree's copy does not agree with the ledger.
    """
    name_latest(ledger, project, export.round)
    found, why = _kept(ledger, project, export)
    if found is not None:
        return []
    manifest = _carried(ledger, export, tree, why)
    file = listing_of(ledger, project, export, "manifest.json")
    aside = _set_aside(ledger, export, file)
    write_manifest(manifest, file)
    write_lines(listing_of(ledger, project, export, "before.txt"), [one.path for one in manifest.files])
    return [f"{why} It was restored from the tree's copy, which agrees with the ledger.{aside}"]


def _kept(ledger: Ledger, project: Path, export: review.Export) -> tuple[Manifest | None, str]:
    """The project's own manifest of an export, or why there is none."""
    file = listing_of(ledger, project, export, "manifest.json")
    # Under its other name a manifest lies only where a process was killed in the middle of an export.
    other = _renamed(RoundFolder(project, export.round).path / "manifest.json", export.key)
    why = ""
    for place in dict.fromkeys((file, other)):
        try:
            found = read_manifest(place)
        except TreeUnavailable as error:
            why = why or error.message
            continue
        if found.export == export.key:
            return found, ""
        why = why or f"{place} is the manifest of another export."
    return None, why


def _carried(ledger: Ledger, export: review.Export, tree: Path | None, why: str) -> Manifest:
    """The manifest that the tree carries, if it agrees with the ledger. `why` the project's own is none."""
    tree = tree or Path(unescape(export.tree))
    try:
        found = tree_manifest(tree)
        fault = _fault(ledger, export, found)
    except TreeUnavailable as error:
        fault = error.message.rstrip(".")
    if not fault:
        return found
    raise TreeUnavailable(
        f"{why} The copy in {tree / MARKER} cannot take its place: {fault}.",
        hint="Restore either of the two from a backup; nothing was recorded. `dupekit export` makes a new tree, which"
        " does not need them, but what was done in this one can then not be collected.",
    )


def _fault(ledger: Ledger, export: review.Export, found: Manifest) -> str:
    """Where a manifest says something else than the ledger; it decides which labels images get."""
    if found.export != export.key:
        return "it is the manifest of another export"
    known = check.exported(ledger, export.number)
    said = {file.path: (file.original, file.digest) for file in found.files}
    wrong = sorted(path for path in said.keys() | known.keys() if said.get(path) != known.get(path))
    votes = check.exported_votes(ledger, export.number)
    # With pairs that were trained since, votes are others, and so may suggestions be.
    same_pairs = rounds.get(ledger, export.round).tallied_pairs == found.pairs
    for file in [] if wrong else found.files:
        given, *suggested = votes[file.path]
        right = file.given == given == found.folders.get(file.path.partition("/")[0])
        if not right or (same_pairs and [file.suggested, file.votes] != suggested):
            wrong.append(file.path)
    return f"it differs from the ledger in {len(wrong)} files, such as {wrong[0]}" if wrong else ""


def _set_aside(ledger: Ledger, export: review.Export, file: Path) -> str:
    """Moves what stands in a manifest's place away: nothing is overwritten unseen."""
    if not file.is_file():
        return ""
    try:
        key = read_manifest(file).export
    except TreeUnavailable:
        key = ""
    other = review.export_by_key(ledger, key)
    if other is not None and other.round == export.round and not _renamed(file, key).exists():
        for name in _NAMES:
            place = file.with_name(name)
            if place.is_file() and not _renamed(place, key).exists():
                place.rename(_renamed(place, key))
        return ""
    damaged = file.with_name(f"{file.stem}.damaged{file.suffix}")
    file.replace(damaged)
    return f" What stood there is {damaged.name} now."


def _renamed(file: Path, export: str) -> Path:
    return file.with_name(f"{file.stem}.{export[:8]}{file.suffix}")
