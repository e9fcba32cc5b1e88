"""What does not change while a tree is reviewed, as JSON for the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dupekit.files.names import escape, same_name_key
from dupekit.review.manifest import Manifest
from dupekit.review.reference_index import ReferenceIndex

_SHOWN = 24
"""So many pictures stand beside an image at most: whoever made the index, the page must remain a page."""
_NUMBER = re.compile(r"(\d+)")


def facts(manifest: Manifest, tree: Path) -> dict[str, Any]:
    """The number of an image is its position in the manifest, which is most suspicious first.

    Where an audit's images are among them, nothing tells which: no votes, and never a score.
    """
    labels = {*manifest.folders.values()}
    for file in manifest.files:
        labels |= {file.given, file.suggested}
    classes = sorted(labels, key=_as_people_sort)
    index = {label: i for i, label in enumerate(classes)}
    votes_shown = all(file.stratum is None for file in manifest.files)
    return {
        "tree": escape(tree.name),
        "created": manifest.created,
        "pairs": manifest.pairs,
        "enlarged": manifest.enlarged,
        "votes_shown": votes_shown,
        "classes": classes,
        "folders": {label: folder for folder, label in manifest.folders.items()},
        "images": [
            {
                "name": file.original.rpartition("/")[2],
                "given": index[file.given],
                "suggested": index[file.suggested],
                "votes": file.votes if votes_shown else None,
            }
            for file in manifest.files
        ],
    }


def references(manifest: Manifest, index: ReferenceIndex | None) -> dict[str, Any]:
    """Typical images and look-alikes, by the numbers of their thumbnails; none where the tree has none."""
    if index is None:
        return {"thumbnails": [], "classes": {}, "beside": []}
    beside = [index.beside.get(file.path) for file in manifest.files]
    return {
        "thumbnails": [one.model_dump(exclude={"file"}) for one in index.thumbnails],
        "classes": {label: numbers[:_SHOWN] for label, numbers in index.classes.items()},
        "beside": [
            [numbers[:_SHOWN] for numbers in ((one.given, one.suggested, one.alike) if one else ((), (), ()))]
            for one in beside
        ],
    }


def _as_people_sort(label: str) -> tuple[list[tuple[int, int, str]], str]:
    """Without case, and "2" before "10"."""
    parts = _NUMBER.split(same_name_key(label))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], label
