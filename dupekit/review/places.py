"""What it means for an exported file to lie somewhere in a review tree.

`_done`, `_right`, `_expunge` and `_unsure` mean the same at any depth, so a folder dropped into another one decides nothing
that nobody meant. Of a path all up to the last `_done` is taken off: what is below it is finished.
"""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.files.names import is_class_name, same_name_key, unescape
from dupekit.review.manifest import DONE, SPECIAL, Manifest
from dupekit.review.tree_paths import above


@dataclass(frozen=True, slots=True)
class Place:
    """A path in the tree, read."""

    done: bool
    """Whether it lies in `_done`."""
    special: str | None
    """`_right`, `_expunge` or `_unsure`; None where it lies in none of them."""
    rest: str
    """The path without all up to the last `_done`."""

    @property
    def folder(self) -> str | None:
        """The folder at the top that it lies in or below, `_done` taken off; None where it lies in no folder."""
        folder, slash, _ = self.rest.partition("/")
        return folder if slash else None


class Places:
    """The places of one tree. Made once from its manifest: of 100,000 files each asks for its place."""

    def __init__(self, manifest: Manifest) -> None:
        # A folder's own name goes before the name of a class.
        self._labels = {same_name_key(label): label for label in reversed(manifest.folders.values())}
        self._labels |= {same_name_key(name): label for name, label in manifest.folders.items()}
        # A tree of an earlier dupekit may hold a class, or a sub-folder, that is really called so.
        self._special = frozenset(SPECIAL) - {same_name_key(name) for name in manifest.folders}
        folders = {folder for file in manifest.files for folder in above(file.path)}
        self._homes = frozenset(map(same_name_key, folders))

    def of(self, path: str) -> Place:
        folders = above(path)
        done = special = None
        for at, folder in enumerate(folders):
            name = same_name_key(folder.rpartition("/")[2])
            if name not in self._special:
                continue
            start = 0 if done is None else len(folders[done]) + 1
            if same_name_key(folder[start:]) in self._homes:
                continue
            if name == DONE:
                done, special = at, None
            else:
                special = name
        rest = path if done is None else path[len(folders[done]) + 1 :]
        return Place(done is not None, special, rest)

    def label(self, folder: str) -> str | None:
        """The class that a folder at the top stands for: of the dataset, by the folder's name or its own, or a new one.

        None where no dataset can have a class of that name, as every scan passes over what begins with a dot.
        """
        known = self._labels.get(same_name_key(folder))
        return known or (folder if is_class_name(unescape(folder)) else None)
