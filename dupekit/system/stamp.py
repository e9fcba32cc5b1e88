"""Who did something, and when, as it stands in the ledger and in files."""

from __future__ import annotations

import getpass
import platform
from datetime import UTC, datetime


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def user() -> str:
    """Who is at work: USER@COMPUTER."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # no such user, as in some containers
        return platform.node()
