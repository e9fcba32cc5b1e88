"""What a person should confirm before verdicts are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dupekit.errors import NotConfirmed


class Kind(StrEnum):
    """What was found."""

    TRANSFER = "transfer"
    """Files are missing, and a transfer seems to have been broken off."""
    NEW = "new"
    """A new folder at the top would be a new class."""
    MOVED = "moved"
    """A folder lies in another one."""
    DISCARDED = "discarded"
    """What was to be dropped, wrong or unsure is deleted, or the folder that stands for it."""
    DELETED = "deleted"
    """Folders are gone, or nothing is left of many classes, or of the tree."""
    RESTORED = "restored"
    """What was decided before would be taken back by files lying where they were exported."""
    EXCHANGED = "exchanged"
    """Identical images of two classes would get each other's label."""


@dataclass(frozen=True, slots=True)
class Question:
    """Verdicts on several files at once that may be a slip of the hand."""

    kind: Kind
    files: int
    share: float
    """Of all exported files."""
    found: str
    """What was found: half a sentence."""
    asks: str
    """What it would mean: a question."""
    folders: tuple[str, ...] = ()
    """In the tree, escaped; empty where the whole tree is meant."""
    target: str | None = None
    """The folder that the files lie in now, escaped; None where they are deleted, or lie in several places."""

    def __str__(self) -> str:
        files = f"{self.files} {'file' if self.files == 1 else 'files'}"
        return f"{self.found} ({files}, {self.share:.0%} of the tree). {self.asks}"


def refused(asked: Sequence[Question], *, not_asked: int = 0) -> NotConfirmed:
    """The error that names what was not confirmed."""
    rest = f"\n({not_asked} more {'was' if not_asked == 1 else 'were'} not asked.)" if not_asked else ""
    return NotConfirmed(
        "Nothing was recorded, for this was not confirmed:\n" + "\n".join(f"  - {q}" for q in asked) + rest,
        hint="If it was a slip, put the files back and collect again; if it is meant, confirm with --yes.",
    )


def named(folders: Sequence[str]) -> str:
    """As in "The folder a" and "The folders a and b"; no more than five are named."""
    shown, more = list(folders[:5]), len(folders) - 5
    if more > 0:
        shown = [", ".join(shown), f"{more} more"]
    names = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
    return f"The folder {names}" if len(folders) == 1 else f"The folders {names}"
