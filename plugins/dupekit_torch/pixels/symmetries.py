"""The eight symmetries of the square, each a code of three bits: swap rows and columns, and then mirror top to bottom,
mirror left to right."""

from __future__ import annotations

MIRROR_X, MIRROR_Y, SWAP = 1, 2, 4


def symmetries(*, flips: str, rotations: bool) -> tuple[int, ...]:
    """The symmetries that mirrors ("both", "horizontal", "none") and turns by 90 degrees make together; no change is
    the first."""
    if rotations:  # without mirrors only the four turns; with any mirror all eight symmetries
        return (
            (0, SWAP | MIRROR_X, MIRROR_X | MIRROR_Y, SWAP | MIRROR_Y) if flips == "none" else tuple(range(8))
        )
    return {"both": (0, 1, 2, 3), "horizontal": (0, 1), "none": (0,)}[flips]
