"""What a person should confirm before verdicts are recorded, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dupekit.errors import NotConfirmed
from dupekit.files.names import same_name_key
from dupekit.review.manifest import EXPUNGE, MARKER, UNSURE


class Kind(StrEnum):
    """What was found."""

    EMPTIED = "emptied"
    """Nothing is left of the tree, or of many classes."""
    DELETED = "deleted"
    """Folders are gone."""
    TRANSFER = "transfer"
    """Files are missing, and a transfer seems to have been broken off."""
    HIDDEN = "hidden"
    """Files lie in the marker folder."""
    TURNED = "turned"
    """What lay in _expunge or _unsure when it was recorded, does so no more."""
    DISCARDED = "discarded"
    """The folder _expunge or _unsure itself is gone."""
    MOVED = "moved"
    """A folder lies in another one."""
    RENAMED = "renamed"
    """A folder is gone, and its files lie together in another."""
    COPIED = "copied"
    """A new folder holds second copies, and originals were deleted."""
    NEW = "new"
    """A new folder at the top holds many files."""
    RESTORED = "restored"
    """What was decided before would be taken back by files lying where they were exported."""


@dataclass(frozen=True, slots=True)
class Question:
    """Verdicts on several files at once that may be a slip of the hand."""

    kind: Kind
    folders: tuple[str, ...]
    """In the tree, escaped; empty where the whole tree is meant."""
    target: str | None
    """Where the files lie now, escaped; None where they are deleted, or lie in several places."""
    files: int
    share: float
    """Of all exported files."""
    because: str | None = None
    """A sign that is not in the other fields, in words."""
    near: str | None = None
    """The class of the dataset whose name is nearly that of `target`, a new folder."""

    def __str__(self) -> str:
        guess = f" Did you mean {self.near}?" if self.near else ""
        return _TEXTS[self.kind](self, f"{_counted(self.files)}, {self.share:.0%} of the tree") + guess


def refused(asked: Sequence[Question], *, not_asked: int = 0) -> NotConfirmed:
    """The error that names what was not confirmed."""
    rest = f"\n({not_asked} more {'was' if not_asked == 1 else 'were'} not asked.)" if not_asked else ""
    return NotConfirmed(
        "Nothing was recorded, for this was not confirmed:\n" + "\n".join(f"  - {q}" for q in asked) + rest,
        hint="If it was a slip, put the files back and collect again; if it is meant, confirm with --yes.",
    )


def _emptied(q: Question, size: str) -> str:
    if not q.folders:
        return f"All {q.files} files of the tree are deleted. Were all of them labelled right?"
    return f"Nothing is left in {_names(q.folders)} ({size}). Were all of these labelled right?"


def _deleted(q: Question, size: str) -> str:
    subject = f"The folder {q.folders[0]} is" if len(q.folders) == 1 else f"{len(q.folders)} folders are"
    which = "" if len(q.folders) == 1 else f": {_names(q.folders)}"
    return f"{subject} gone{which} ({size}). Were all of these labelled right?"


def _transfer(q: Question, size: str) -> str:
    return (
        f"Files are missing ({size}), and {q.because}. Has the whole tree arrived, and were all of these"
        " labelled right?"
    )


def _hidden(_: Question, size: str) -> str:
    return (
        f"Images lie in the folder {MARKER} ({size}), where none is read: they would count as deleted, so as"
        " labelled right. Is that meant?"
    )


def _turned(q: Question, size: str) -> str:
    were = "to be expunged" if q.folders == (EXPUNGE,) else "as unsure"
    if q.target:
        return f"Files that were recorded {were} lie in {q.target} now ({size}). {_shall(q)}"
    return (
        f"Files that were recorded {were} are deleted now ({size}): they would count as labelled right, and stay"
        " in the dataset. Is that meant?"
    )


def _discarded(q: Question, size: str) -> str:
    one = len(q.folders) == 1
    return (
        f"{'The folder' if one else 'The folders'} {_names(q.folders)} {'is' if one else 'are'} gone. What lay there"
        f" would count as labelled right, as all deleted files do ({size}). {'Was it' if one else 'Were they'} empty?"
    )


def _moved(q: Question, size: str) -> str:
    return f"The folder {_names(q.folders)} lies in {q.target} now ({size}). {_shall(q)}"


def _renamed(q: Question, size: str) -> str:
    what = f"The folder {q.folders[0]} was" if len(q.folders) == 1 else f"{_names(q.folders)} were"
    return f"{what} renamed to, or moved into, {q.target} ({size}). {_shall(q)}"


def _copied(q: Question, size: str) -> str:
    return (
        f"The folder {q.target} holds copies of images of {_names(q.folders)}. Some that were deleted in"
        f" {_names(q.folders)} are found in {q.target} ({size}). {_shall(q)}"
    )


def _new(q: Question, size: str) -> str:
    return (
        f"The folder {q.target} is new and holds images of {_names(q.folders)} ({size})."
        f" Is {q.target} a new class, and the label of all of these?"
    )


def _restored(_: Question, size: str) -> str:
    return (
        f"Something else was recorded before of images that lie where they were exported again ({size})."
        " Shall that be taken back, so that they get the suggested labels?"
    )


_TEXTS: dict[Kind, Callable[[Question, str], str]] = {
    Kind.EMPTIED: _emptied,
    Kind.DELETED: _deleted,
    Kind.TRANSFER: _transfer,
    Kind.HIDDEN: _hidden,
    Kind.TURNED: _turned,
    Kind.DISCARDED: _discarded,
    Kind.MOVED: _moved,
    Kind.RENAMED: _renamed,
    Kind.COPIED: _copied,
    Kind.NEW: _new,
    Kind.RESTORED: _restored,
}


def _shall(q: Question) -> str:
    if q.because:  # read as lying in their own class
        return f"{q.because} Is that meant?"
    folder = (q.target or "").partition("/")[0]
    if same_name_key(folder) == EXPUNGE:
        return "Shall all of these be dropped?"
    if same_name_key(folder) == UNSURE:
        return "Shall all of these be unsure?"
    return f"Shall all of these get the label of {folder}?"


def _counted(files: int) -> str:
    return f"{files} {'file' if files == 1 else 'files'}"


def _names(folders: Sequence[str], most: int = 5) -> str:
    shown, more = list(folders[:most]), len(folders) - most
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
