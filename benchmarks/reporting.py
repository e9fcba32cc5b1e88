"""How benchmarks print what they measured: one table, and the machine it was measured on."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "dupekit",
    "torch",
    "torchvision",
    "onnxruntime-gpu",
    "onnxruntime",
    "watchdog",
    "numpy",
    "pillow",
)


def show(title: str, rows: Mapping[str, Sequence[float]]) -> None:
    """Median and range of every figure; `rows` holds its values, one a repeat."""
    width = max(32, *(len(name) for name in rows)) + 2
    print(f"\n{title}\n{'':{width}}{'median':>10}{'least':>10}{'most':>10}{'n':>4}")
    for name, values in rows.items():
        figures = (statistics.median(values), min(values), max(values))
        print(f"{name:{width}}" + "".join(f"{_short(x):>10}" for x in figures) + f"{len(values):4}")
    sys.stdout.flush()


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def machine(processor: str = "") -> str:
    """This machine and the versions of what is installed, in a line."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    parts = (processor, platform.machine(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}")
    return ", ".join([*filter(None, parts), *found])
