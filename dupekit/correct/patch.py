"""patch.csv: the corrections of a dataset as a file, which makes them on any copy of it, or takes them back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from dupekit.correct.placements import Correction, DatasetPlan, Draft, Placement, Source, Sources
from dupekit.correct.resolve import Unapplied
from dupekit.errors import DatasetChanged, UsageError
from dupekit.files.names import escape, is_class_name, is_passed_over, unescape
from dupekit.files.spreadsheet import NoTable, read_table, table_text
from dupekit.files.write import write_text
from dupekit.review.tree_paths import above

COLUMNS = (
    "path", "action", "old_label", "new_label", "new_path", "votes", "score", "decided", "digest",
)  # fmt: skip
_NEEDED = ("path", "action", "old_label", "new_label", "new_path", "digest")
_DIGEST = re.compile("[0-9a-f]{64}")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PatchRow:
    """One correction; paths escaped and relative to the dataset."""

    path: str
    old_label: str
    new_label: str
    """Empty: expunged."""
    new_path: str
    """In the corrected dataset; empty: expunged."""
    digest: str


def write_patch(path: Path, corrections: Sequence[Correction], new_paths: Mapping[int, str]) -> None:
    """Writes patch.csv: one row a correction, enough to make it again on any copy of the dataset.

    `new_paths` has the place of each corrected image that is in the corrected dataset.
    """
    rows = [
        (c.path, _action(c.new_label), c.old_label, c.new_label or "", new_paths.get(c.image, ""), c.votes,
         f"{c.score:.6f}", c.decided, c.digest)
        for c in sorted(corrections, key=lambda correction: correction.path)
    ]  # fmt: skip
    write_text(path, table_text(COLUMNS, rows))


def write_unapplied(path: Path, unapplied: Sequence[Unapplied]) -> None:
    """Writes beside a patch what it does not hold: the decisions that changed nothing; no file where there are none."""
    if not unapplied:
        path.unlink(missing_ok=True)  # of an earlier apply of the round
        return
    rows = [
        (one.path, _action(one.new_label), one.old_label, one.new_label or "", one.reason, one.now_at or "")
        for one in unapplied
    ]
    write_text(path, table_text(("path", "action", "old_label", "new_label", "reason", "now_at"), rows))


def _action(new_label: str | None) -> str:
    return "relabel" if new_label else "expunge"


def read_patch(path: Path) -> list[PatchRow]:
    """Reads a patch, also one that a spreadsheet has saved.

    Raises UsageError where it is no patch, naming the lines that are wrong; so a path that leads out of
    the dataset is refused here.
    """
    try:
        found = read_table(path.read_bytes(), columns=COLUMNS, needed=_NEEDED)
    except OSError as error:
        raise UsageError(
            f"The patch {path} cannot be read: {error.strerror}.", hint="Name a patch.csv with --patch."
        ) from None
    except NoTable as error:
        raise _malformed(path, [str(error)], hint=error.hint) from None
    rows = [_row(row.cells) for row in found]
    faults = [
        f"line {one.line}: {fault}"
        for one, row in zip(found, rows, strict=True)
        if (fault := one.fault or _fault(row, one.cells.get("action", "")))
    ]
    faults += _repeated("path", [row.path for row in rows])
    faults += _repeated("new_path", [row.new_path for row in rows if row.new_path])
    faults += _nested("path", {row.path for row in rows})
    faults += _nested("new_path", {row.new_path for row in rows if row.new_path})
    if faults:
        raise _malformed(path, faults)
    return rows


def plan_patched(
    sources: Sources, rows: Sequence[PatchRow], *, original: Path | None, reverse: bool
) -> DatasetPlan:
    """Where each file of a copy goes by a patch; in `reverse`, of a corrected copy.

    `sources` are the copy's files, those of the patch with their digests; `original` supplies what was
    expunged, whose content is checked when it is copied. Raises DatasetChanged where a file of the patch is missing,
    has other content, or its place is taken; UsageError where expunged files cannot come back.
    """
    expunged = [row for row in rows if not row.new_path]
    if reverse and expunged and original is None:
        raise UsageError(
            f"{len(expunged)} expunged files are not in the corrected dataset, so they cannot come back from it.",
            hint="Name the original dataset, or a copy of it, with --original DIR.",
        )
    moves = {_place(row, reverse): row for row in rows if row.new_path or not reverse}
    targets = [row.path if reverse else row.new_path for row in rows if reverse or row.new_path]
    draft = Draft(sources)
    there, taken = _found(draft, moves, targets)
    faults = _faults(there, moves)
    if not reverse:
        faults += _no_classes({row.new_label for row in rows} - sources.keys())
    for target in targets:
        if target in taken or not taken.isdisjoint(above(target)):
            faults.append(f"{target}: its place is taken by another file of this dataset")
    if faults:
        raise DatasetChanged(
            f"The patch does not fit this dataset, in {len(faults)} places:\n" + _listed(faults),
            hint="Nothing was written. Name the dataset that the patch was made for, or an unchanged copy"
            + (" of the corrected one." if reverse else " of it; --reverse turns a corrected one back."),
        )
    coming = [
        Placement(there[path], row.path if reverse else row.new_path)
        for path, row in moves.items()
        if row.new_path
    ]
    if reverse:
        coming += [_restored(row, original) for row in expunged if original]
    return draft.plan(moves.keys(), coming, {})


def _found(
    sources: Iterable[Source], moves: Mapping[str, PatchRow], targets: Sequence[str]
) -> tuple[dict[str, Source], set[str]]:
    """The sources that move, by path; and the paths of the targets, and above them, that others take."""
    wanted = set(targets)
    above_wanted = {folder for target in targets for folder in above(target)}
    there: dict[str, Source] = {}
    taken: set[str] = set()
    last = ""
    for source in sources:
        path = source.path
        if path in moves:
            there[path] = source
            continue
        if path in wanted or path in above_wanted:
            taken.add(path)
        if (parent := path.rpartition("/")[0]) != last:
            last = parent
            taken.update(wanted.intersection(above(path)))
    return there, taken


def _restored(row: PatchRow, original: Path) -> Placement:
    file = original / unescape(row.path)
    try:
        stat = file.stat()
    except OSError as error:
        raise DatasetChanged(
            f"{file} is to come back, but cannot be read: {error.strerror}.",
            hint="Name the dataset that the patch was made for with --original. Nothing was written.",
        ) from None
    return Placement(
        Source(0, row.path, row.old_label, stat.st_size, stat.st_mtime_ns, row.digest), row.path, original
    )


def _no_classes(labels: Set[str]) -> list[str]:
    """New labels by which no class can be called everywhere."""
    return [
        f"{label}: no class can be called so"
        for label in sorted(labels)
        if label and not is_class_name(unescape(label))
    ]


def _place(row: PatchRow, reverse: bool) -> str:
    return row.new_path if reverse else row.path


def _faults(there: Mapping[str, Source], moves: Mapping[str, PatchRow]) -> list[str]:
    faults = []
    for path, row in moves.items():
        if path not in there:
            faults.append(f"{path}: missing")
        elif there[path].digest != row.digest:
            faults.append(f"{path}: has other content")
    return faults


def _row(cells: Mapping[str, str]) -> PatchRow:
    path, old_label, new_label, new_path, digest = (
        cells.get(name, "") for name in ("path", "old_label", "new_label", "new_path", "digest")
    )
    return PatchRow(path, old_label, new_label, new_path, digest)


def _fault(row: PatchRow, action: str) -> str | None:
    """What is wrong with a row."""
    relabel = action == "relabel"
    if action not in ("relabel", "expunge"):
        return f"the action is {action!r}, not relabel or expunge"
    for path, label in [(row.path, row.old_label)] + [(row.new_path, row.new_label)] * relabel:
        if not _is_safe(path):
            return f"{path!r} is no path within a dataset"
        if any(map(is_passed_over, unescape(path).split("/"))):
            return f"{path!r} lies where no scan of a dataset looks"
        if path.partition("/")[0] != label:
            return f"{path!r} does not lie in the class {label!r}"
    if not relabel and (row.new_label or row.new_path):
        return "an expunged file has no new label or path"
    if not _DIGEST.fullmatch(row.digest):
        return "the digest is not 64 hexadecimal digits in lower case"
    return None


def _is_safe(path: str) -> bool:
    """Whether it is a file's path below a class, in the one form that `escape` writes."""
    real = unescape(path)
    parts = real.split("/")
    return (
        escape(real) == path
        and "\0" not in real
        and len(parts) > 1
        and not any(part in ("", ".", "..") for part in parts)
        and not Path(real).is_absolute()
    )


def _repeated(column: str, values: list[str]) -> list[str]:
    return [f"{column} {value!r} stands twice" for value, count in Counter(values).items() if count > 1]


def _nested(column: str, paths: Set[str]) -> list[str]:
    """Files that would be folders of others."""
    inside = ((path, folder) for path in sorted(paths) for folder in above(path) if folder in paths)
    return [f"{column} {folder!r} is a file, and holds {path!r}" for path, folder in inside]


def _malformed(path: Path, faults: list[str], *, hint: str = "") -> UsageError:
    return UsageError(
        f"{path} is not a patch that can be applied:\n" + _listed(faults),
        hint=f"Nothing was written. {hint or 'Take the patch.csv that `dupekit apply` wrote; docs/files.md describes it.'}",
    )


def _listed(faults: list[str]) -> str:
    more = [f"... and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    return "\n".join(f"  {line}" for line in faults[:_SHOWN] + more)
