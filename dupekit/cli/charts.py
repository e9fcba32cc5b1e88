"""Small charts in a line of text: a sparkline, a bar. Where the output's encoding lacks blocks, in ASCII."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dupekit.cli.terminal import takes

_HEIGHTS, _ASCII_HEIGHTS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def spark(values: Sequence[float | None], *, top: float | None = None) -> str:
    """A character a value, from 0 to `top`, default the largest; a blank for one that is not known."""
    heights = _HEIGHTS if takes(sys.stdout, _HEIGHTS) else _ASCII_HEIGHTS
    highest = max((value for value in values if value is not None), default=0) if top is None else top
    return "".join(" " if value is None else heights[_step(value, highest, 7)] for value in values)


def bar(value: float, *, top: float, width: int = 20) -> str:
    """A bar of at most `width` characters, which it has at `top`. What is above 0 can be seen."""
    if not takes(sys.stdout, _EIGHTHS):
        return "#" * (max(_step(value, top, width), 1) if value > 0 else 0)
    eighths = _step(value, top, width * 8)
    whole, part = divmod(max(eighths, 1) if value > 0 else 0, 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def _step(value: float, top: float, steps: int) -> int:
    return round(min(max(value / top, 0), 1) * steps) if top > 0 else 0
