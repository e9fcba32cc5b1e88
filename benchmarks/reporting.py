"""How benchmarks print what they measured: one table, and the machine it was measured on; and how each begins anew."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


_ASK = """
import json, sys, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "there": torch.cuda.is_available()}
if found["there"]:
    torch.zeros(8, device=sys.argv[1]).add_(1).sum().item()
    found["name"] = torch.cuda.get_device_name(sys.argv[1])
print(json.dumps(found))
"""


def cuda(device: str) -> str:
    """The GPU's name, PyTorch's CUDA version and the driver's. Ends the benchmark where PyTorch cannot compute on it.

    Another process asks: this one would keep a context on the GPU, and where the GPU is one process's alone, no
    worker could then use it.
    """
    driver = driver_version()
    asked = subprocess.run([sys.executable, "-c", _ASK, device], capture_output=True, text=True, check=False)
    last = (asked.stderr.strip().splitlines() or [""])[-1]
    found = json.loads(asked.stdout) if asked.returncode == 0 else {}
    if found.get("name"):
        return f"{found['name']}, CUDA {found['cuda']} of PyTorch, driver {driver}"
    if not found:
        why = f"PyTorch cannot compute on {device!r}: {last}"
    elif found["cuda"] is None:
        why = f"PyTorch {found['torch']} is built without CUDA."
    else:
        why = f"PyTorch {found['torch']} with CUDA {found['cuda']} sees no CUDA device; driver: {driver}. {last}"
    sys.exit(f"{why.strip()}\nThis benchmark measures a GPU. Nothing was run.")


def driver_version() -> str:
    """The NVIDIA driver's version; "?" where nvidia-smi is not there or does not know."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return asked.stdout.split()[0] if asked.returncode == 0 and asked.stdout.strip() else "?"


def forget_what_was_compiled(folder: Path) -> None:
    """Gives the processes to come empty folders, in this one, for what PyTorch, Triton and the driver compile."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH"):
        own = folder / name.lower()
        own.mkdir(parents=True)
        os.environ[name] = str(own)
