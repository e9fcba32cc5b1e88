"""What is known when verdicts are about to be recorded: by this, `mistakes` finds those that are probably not meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dupekit.files.names import same_name_key
from dupekit.review.listing import Listing
from dupekit.review.manifest import SPECIAL, Manifest
from dupekit.review.places import Places
from dupekit.review.tree_paths import above
from dupekit.review.verdicts import FileVerdict, Review, Verdict, misspelt, new_classes


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was recorded of an image before a collect."""

    verdict: Verdict
    label: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when verdicts are about to be recorded."""

    manifest: Manifest
    listing: Listing
    review: Review
    changed: Sequence[FileVerdict]
    """The verdicts that differ from what was recorded of this tree before. About nothing else is asked, so that
    nothing is asked twice."""
    recorded: Mapping[str, Earlier]
    """Of this tree, by the path of the exported file."""
    known: Collection[str] = ()
    """Labels that were decided in other trees."""
    carried: bool = False
    """Whether the tree lies at another place than the one it was exported to."""
    seen: frozenset[str] | None = None
    """What .dupekit/after.txt lists: the files that were there when a watcher without a project looked last."""

    # What follows from these, worked out once.
    places: Places = field(init=False)
    standing: frozenset[str] = field(init=False)
    """Keys of the folders that are there, wherever in `_done` or another of those they lie; and of those themselves."""
    new: frozenset[str] = field(init=False)
    """Labels that are no class of the dataset and were not decided before."""
    misspelt: Mapping[str, str] = field(init=False)
    """New class -> the class of the dataset whose name is nearly its own."""
    left: frozenset[str] = field(init=False)
    """The classes of which something was not deleted, and did not go to another class."""

    def __post_init__(self) -> None:
        places = Places(self.manifest)
        standing = {places.of(f"{folder}/").rest.rstrip("/") for folder in self.listing.folders}
        standing |= {folder.rpartition("/")[2] for folder in self.listing.folders} & set(SPECIAL)
        decided = {one.label for one in self.recorded.values()} | set(self.known)
        for name, value in {
            "places": places,
            "standing": frozenset(standing),
            "new": frozenset(new_classes(self.review, self.manifest)) - decided,
            "misspelt": misspelt(self.review, self.manifest),
            "left": frozenset(v.file.given for v in self.review.verdicts if _is_left(v)),
        }.items():
            object.__setattr__(self, name, value)

    def gone(self, path: str) -> str | None:
        """The uppermost folder of an exported path that is no more; None where all stand."""
        return next((folder for folder in above(path) if not self.stands(folder)), None)

    def stands(self, folder: str) -> bool:
        """Whether a folder is there, where it was exported to or as it is in one of the four."""
        return same_name_key(folder) in self.standing


def _is_left(v: FileVerdict) -> bool:
    return v.in_its_class or (v.now_at is not None and v.verdict is not Verdict.RELABEL)
