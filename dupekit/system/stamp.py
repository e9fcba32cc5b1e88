"""Who did something, and when, as it stands in the ledger and in files."""

from __future__ import annotations

import getpass
import platform
from datetime import UTC, datetime


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def in_words(stamp: str) -> str:
    """Such a stamp for a person who may be anywhere, as on a page that is sent around: 2026-11-26 13:44 UTC."""
    return f"{stamp[:16].replace('T', ' ')} UTC"


def user() -> str:
    """Who is at work: USER@COMPUTER."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # no such user, as in some containers
        return platform.node()
