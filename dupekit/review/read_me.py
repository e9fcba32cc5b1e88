"""What lies in a review tree for whoever works on it: how it is done, and the names of all classes.

The page is made from docs/technician.md by docs/generate.py; what belongs to one tree is filled in here.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from string import Template

from dupekit.files.names import printable, same_name_key
from dupekit.review.manifest import Manifest
from dupekit.review.tree_paths import top


def page(manifest: Manifest, *, sheets: str = "") -> str:
    """`_READ_ME.html`: one page of HTML that needs nothing else and fetches nothing. `sheets` is a piece of HTML that shows the
    classes."""
    template = Template(Path(__file__).with_name("read_me.html").read_text(encoding="utf-8"))
    images = Counter(top(file.path) for file in manifest.files)
    enlarged = f" The copies are <b>{manifest.enlarged} times</b> as large." if manifest.enlarged > 1 else ""
    # So in a tree with an audit: see `plan_tree`.
    no_votes = any(file.stratum is not None for file in manifest.files)
    rows = [_row(name, manifest.folders[name], images[name]) for name in _folders(manifest)]
    return template.substitute(
        images=_count(images.total(), "image"),
        folders=_count(len(images), "class folder"),
        pairs=_count(manifest.pairs, "time"),
        enlarged=enlarged,
        no_votes=" The names here hold <b>no votes</b>." if no_votes else "",
        classes="\n".join(rows),
        sheets=sheets,
        looks=' What they <a href="#looks">look like</a> comes after that.' if sheets else "",
    )


def classes(manifest: Manifest) -> str:
    """`_classes.txt`: the names of the class folders, one a line."""
    return "".join(f"{name}\n" for name in _folders(manifest))


def _folders(manifest: Manifest) -> list[str]:
    """In the order of most file managers."""
    return sorted(manifest.folders, key=lambda name: (same_name_key(name), name))


def _row(folder: str, label: str, images: int) -> str:
    called = "" if folder == label else f" ({_shown(label)})"
    return f"<li>{_shown(folder)}{called} <b>{images or ''}</b></li>"


def _shown(name: str) -> str:
    return escape(printable(name))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
