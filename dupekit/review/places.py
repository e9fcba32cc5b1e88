"""What it means for an exported file to lie somewhere in a review tree.

`_done`, `_right`, `_expunge` and `_unsure` mean the same at any depth, so a folder dropped into another one decides nothing
that nobody meant. Of a path all up to the last `_done` is taken off: what is below it is finished. Of what is left, the last
of the others decides; where there is none, the folder at the top.
"""

from __future__ import annotations

from dataclasses import dataclass

from dupekit.files.names import is_class_name, same_name_key, unescape
from dupekit.review.manifest import DONE, SPECIAL, ExportedFile, Manifest
from dupekit.review.tree_paths import above, parent_key


@dataclass(frozen=True, slots=True)
class Place:
    """A path in the tree, read."""

    done: bool
    """Whether it lies in `_done`."""
    special: str | None
    """`_right`, `_expunge` or `_unsure`; None where it lies in none of them."""
    rest: str
    """The path without all up to the last of the four."""

    @property
    def folder(self) -> str | None:
        """The folder that it lies in or below, at the top but for the four; None where it lies in no other."""
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
        self.homes = frozenset(map(same_name_key, folders))
        """Keys of all folders that files were exported to, and of those above them."""
        self._read: dict[str, tuple[bool, str | None, int]] = {}

    def of(self, path: str) -> Place:
        folder = path[: path.rfind("/") + 1]
        if folder not in self._read:
            self._read[folder] = self._of_folder(folder)
        done, special, start = self._read[folder]
        return Place(done, special, path[start:])

    def _of_folder(self, path: str) -> tuple[bool, str | None, int]:
        done, special, start = False, None, 0
        for folder in above(path):
            name = same_name_key(folder.rpartition("/")[2])
            if name.startswith("."):  # kept by a server or a sync program: nobody put it there
                break
            if name not in self._special or same_name_key(folder[start:]) in self.homes:
                continue
            done = done or name == DONE
            special = None if name == DONE else name
            start = len(folder) + 1
        return done, special, start

    def at_home(self, file: ExportedFile, place: Place) -> bool:
        """Whether a file lies in its class: in or below that folder, or in `_done` without it."""
        home = same_name_key(file.path.partition("/")[0])
        if place.folder is None:
            return place.done
        if same_name_key(place.folder) == home:
            return True
        # A sub-folder dragged to `_done` by itself.
        below = f"/{parent_key(place.rest)}"
        return place.done and self.known(place.folder) is None and f"/{parent_key(file.path)}".endswith(below)

    def known(self, folder: str) -> str | None:
        """The class of the dataset that a folder at the top stands for, by the folder's name or its own."""
        return self._labels.get(same_name_key(folder))

    def label(self, folder: str) -> str | None:
        """The class that a folder at the top stands for: of the dataset, or a new one.

        None where no dataset can have a class of that name, as every scan passes over what begins with a dot.
        """
        return self.known(folder) or (folder if is_class_name(unescape(folder)) else None)
