"""JSON of which nobody knows who wrote it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

LARGEST = 2**63 - 1
"""The largest whole number that the ledger holds."""


def parse_json(content: str | bytes) -> Any:
    """What it says. Raises ValueError for all that is no JSON, also where it is nested deeper than Python reads."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def in_a_line(error: Exception) -> str:
    """What is wrong with content that was refused; of several faults that pydantic found the first, with its place."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    return f"{place}: {what}" if place else what
