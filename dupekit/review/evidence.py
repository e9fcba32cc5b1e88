"""What is known when verdicts are about to be recorded: by this, `mistakes` finds those that are probably not meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dupekit.files.names import same_name_key
from dupekit.review.listing import Listing
from dupekit.review.manifest import SPECIAL, Manifest
from dupekit.review.places import Places
from dupekit.review.tree_paths import above, top, top_key
from dupekit.review.verdicts import FileVerdict, Review, Verdict, misspelt


@dataclass(frozen=True, slots=True)
class Earlier:
    """What counts of an image before a collect."""

    verdict: Verdict
    label: str
    tree: str
    """Where the tree was exported to in which it was decided, escaped."""
    here: bool
    """Whether that is the tree that is being collected."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when verdicts are about to be recorded."""

    manifest: Manifest
    listing: Listing
    review: Review
    changed: Sequence[FileVerdict]
    """The verdicts that differ from what was recorded of this tree before. About nothing else is asked, so that
    nothing is asked twice."""
    decided: Mapping[str, Earlier]
    """By the path of the exported file."""
    carried: bool = False
    """Whether the tree lies at another place than the one it was exported to."""
    seen: frozenset[str] | None = None
    """What .dupekit/after.txt lists: the files that were there when a watcher without a project looked last."""

    # What follows from these, worked out once.
    homes: frozenset[str] = field(init=False)
    """Keys of all folders that files were exported to, and of those above them."""
    tops: frozenset[str] = field(init=False)
    """Keys of the folders at the top that stand for something, whether they are there or not."""
    new_tops: frozenset[str] = field(init=False)
    """Folders at the top that hold files and would be classes that the dataset has not."""
    misspelt: Mapping[str, str] = field(init=False)
    """New class -> the class of the dataset whose name is nearly its own."""
    left_in: Counter[str | None] = field(init=False)
    """Key of a folder at the top -> exported files of it that lie in it now."""

    def __post_init__(self) -> None:
        verdicts, manifest = self.review.verdicts, self.manifest
        folders = {folder for v in verdicts for folder in above(v.file.path)}
        homes = frozenset(map(same_name_key, folders))
        tops = frozenset(map(same_name_key, (*manifest.folders, *SPECIAL)))
        known = homes | tops | set(map(same_name_key, manifest.folders.values()))
        there = {*map(top, self.review.places()), *map(top, self.review.strangers)}
        new = {name for name in there if name and same_name_key(name) not in known}
        places = Places(manifest)
        new_tops = frozenset(name for name in new if places.label(name) == name)
        left_in = Counter(top_key(v.file.path) for v in verdicts if v.in_its_class)
        worked_out = {"homes": homes, "tops": tops, "new_tops": new_tops, "left_in": left_in}
        for name, value in (worked_out | {"misspelt": misspelt(self.review, manifest)}).items():
            object.__setattr__(self, name, value)

    def gone(self, path: str) -> str | None:
        """The uppermost folder of a path that is no more; None where all stand."""
        return next((f for f in above(path) if same_name_key(f) not in self.listing.folders), None)

    def stands(self, folder: str) -> bool:
        """Whether a folder at the top is there."""
        return same_name_key(folder) in self.listing.folders


def overturned(changed: Sequence[FileVerdict], decided: Mapping[str, Earlier]) -> list[Earlier]:
    """The decisions, made in another tree, whose place verdicts just recorded take."""
    found = [(v, decided[v.file.path]) for v in changed if v.file.path in decided]
    return [d for v, d in found if not d.here and (d.verdict, d.label) != (v.verdict, v.label)]
