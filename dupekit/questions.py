"""What a person should confirm before verdicts are recorded: slips of the hand that look like work.

Deleting a file at a time is the work itself. One key press, or a folder that slips into another, decides as
much as hours of it; so do a share that was emptied, or a copy that was broken off.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dupekit.errors import NotConfirmed, TreeUnavailable
from dupekit.files import escape, is_clutter, is_trash, same_name_key
from dupekit.manifest import EXPUNGE, MARKER, UNSURE
from dupekit.review import Verdict

ASK_SHARE = 0.1
"""A folder deleted with at least this share of the tree's files is asked about: with less, at most a tenth of
the review is lost to a slip, and tidying away the many small classes of a long tail raises no question."""
ASK_EMPTIED = 10
"""All files deleted while the folders still stand is asked about from this many files: that two of two dupes
were labelled right is ordinary, that all of many were is rare, and a sync tool gone wrong looks the same."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that changed verdicts of many files at once."""

    kind: Literal["deleted", "moved", "emptied"]
    folder: str
    """In the tree, escaped; empty where the whole tree is meant."""
    target: str
    """Where the files of the folder lie now; empty where they are deleted."""
    files: int
    share: float
    """Of all exported files."""

    def __str__(self) -> str:
        of_all = f"{self.files} {'file' if self.files == 1 else 'files'}, {self.share:.0%} of the tree"
        if self.kind == "emptied":
            return f"All {self.files} files of the tree are deleted. Were all of them labelled right?"
        if self.kind == "deleted":
            return f"The folder {self.folder} is gone ({of_all}). Were all of these labelled right?"
        if same_name_key(self.target) == EXPUNGE:
            return f"The folder {self.folder} was moved to {self.target} ({of_all}). Shall all be dropped?"
        return (
            f"The folder {self.folder} was renamed to, or moved into, {self.target} ({of_all})."
            f" Shall all of these get the label of {self.target}?"
        )


def top_folders(tree: Path) -> list[str]:
    """The folders at the top of a tree, escaped, empty ones too. Raises TreeUnavailable where it went away."""
    try:
        found = [
            escape(path.name)
            for path in tree.iterdir()
            if path.is_dir() and not (is_clutter(path.name) or is_trash(path.name))
        ]
    except OSError as error:
        raise TreeUnavailable(f"{tree} cannot be read: {error.strerror}.") from None
    if MARKER not in found:
        raise TreeUnavailable(f"{tree} went away while it was read.", hint="Mount it and try again.")
    return found


def questions(
    verdicts: Sequence[Verdict], changed: Sequence[Verdict], folders: Sequence[str]
) -> list[Question]:
    """What to confirm, of all verdicts on a tree, about those that `changed` since they were last recorded.

    So nothing is asked twice. `folders` are those at the top of the tree now.
    """
    total = len(verdicts)
    deleted = sum(not v.now_at for v in changed)
    if deleted >= ASK_EMPTIED and not any(v.now_at for v in verdicts):
        return [Question("emptied", "", "", deleted, deleted / total)]
    standing = {same_name_key(name) for name in folders}
    gone: dict[str, list[Verdict]] = defaultdict(list)
    for v in changed:
        folder = v.file.path.partition("/")[0]
        if same_name_key(folder) not in standing:
            gone[folder].append(v)
    found = []
    for folder, those in sorted(gone.items()):
        targets = Counter(_top(v.now_at) for v in those)
        missing = targets.pop("", 0)
        if missing / total >= ASK_SHARE:
            found.append(Question("deleted", folder, "", missing, missing / total))
        # Files carried one by one into several classes are work; all in one place is a folder that moved.
        (target, moved), *others = targets.most_common() or [("", 0)]
        if moved > missing and not others and same_name_key(target) != UNSURE:
            found.append(Question("moved", folder, target, moved, moved / total))
    return found


def refused(asked: Sequence[Question]) -> NotConfirmed:
    """The error that names what was not confirmed."""
    return NotConfirmed(
        "Nothing was recorded, for this was not confirmed:\n" + "\n".join(f"  - {q}" for q in asked),
        hint="If it was a slip, put the files back and collect again; if it is meant, confirm with --yes.",
    )


def _top(path: str) -> str:
    """The folder at the top; a file that lies beside the folders is in none that could have been moved."""
    folder, slash, _ = path.partition("/")
    return folder if slash or not path else UNSURE
