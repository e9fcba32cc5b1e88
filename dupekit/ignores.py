"""Entries of the ignore list: contents that are right under a label."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ignored:
    """An image that is never flagged under this label, wherever it lies and whatever it is called."""

    digest: str
    """SHA-256 of the content, 64 hexadecimal digits."""
    label: str
    path: str
    """Where the image lay when it was added: for people, nothing goes by it."""
    added: str
    """UTC, ISO 8601."""
