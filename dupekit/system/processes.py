"""Other processes of this machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

_PROC = Path("/proc")


def started(pid: int) -> datetime | None:
    """When a process was started, on a second or two; None where that cannot be seen, as on other systems than Linux."""
    try:
        # After its name, which may hold anything: the 22nd field is the time since the machine's start, in ticks.
        ticks = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[19]
        booted = next(
            line for line in (_PROC / "stat").read_bytes().splitlines() if line.startswith(b"btime ")
        )
        since_boot_s = int(ticks) / os.sysconf("SC_CLK_TCK")
        return datetime.fromtimestamp(int(booted.split()[1]), UTC) + timedelta(seconds=since_boot_s)
    except (OSError, LookupError, ValueError, OverflowError, StopIteration, AttributeError):
        return None
