"""Paths in a review tree, escaped, and the parts of them that are compared."""

from __future__ import annotations

from dupekit.files.names import same_name_key


def name_key(path: str) -> str:
    return same_name_key(path.rpartition("/")[2])


def parent_key(path: str) -> str:
    return same_name_key(path.rpartition("/")[0])


def hidden(path: str) -> bool:
    """Whether file managers do not show a file, for its name or that of a folder above it begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def top(path: str | None) -> str | None:
    """The folder at the top that a file lies in; None for one that lies beside the folders, or nowhere."""
    folder, slash, _ = (path or "").partition("/")
    return folder if slash else None


def above(path: str) -> list[str]:
    """The folders above a file, uppermost first."""
    return [path[:i] for i, char in enumerate(path) if char == "/"]
