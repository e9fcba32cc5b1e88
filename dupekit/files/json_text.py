"""JSON of which nobody knows who wrote it."""

from __future__ import annotations

import json
from typing import Any

LARGEST = 2**63 - 1
"""The largest whole number that the ledger holds."""


def parse_json(content: str | bytes) -> Any:
    """What it says. Raises ValueError for all that is no JSON, also where it is nested deeper than Python reads."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
