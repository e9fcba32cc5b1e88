"""Where the local executor's workers are: a GPU each, or a share of the cores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.errors import UsageError
from dupekit.rounds.in_words import counted
from dupekit.system.devices import cores, cuda_devices

_ROCM = Path("/dev/kfd")
"""Where it is, a trainer may know a GPU as "cuda" that CUDA's driver does not."""

VISIBLE, THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where one worker computes."""

    number: int
    """From 1 on."""
    name: str
    """As in "worker 2 (GPU 1)"."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its process is told of it. A variable, and no argument: a plugin that takes whichever GPU comes first, as most
    libraries do where nobody says more, takes the one that is meant, for it sees no other."""


def worker_places(device: str, *, devices: tuple[int, ...] | None, workers: int | None) -> list[WorkerPlace]:
    """Those of a training on this device: "auto", "cpu", "cuda" or "cuda:N".

    `devices` are numbers of CUDA devices, None: all there are; `workers` is how many a CPU gets, None: one. Raises UsageError
    where they contradict each other or the device, or a GPU is not there.
    """
    there = cuda_devices() if device in ("auto", "cuda") else 0
    if devices is not None:
        _check(device, devices, there)
    _require(device)
    if workers is not None and (there or device.startswith("cuda")):
        raise UsageError(
            "executor.workers is for a CPU, and GPUs get a worker each.",
            hint="Leave it out, or add --device cpu.",
        )
    gpus = range(there) if devices is None else devices
    if len(gpus) == 1 and devices is None:
        gpus = ()  # the only one is found by whatever name
    count = len(gpus) or workers or 1
    threads = {} if count == 1 or THREADS in os.environ else {THREADS: str(max(1, cores() // count))}
    if gpus:
        return [
            WorkerPlace(number, f"worker {number} (GPU {gpu})", {VISIBLE: _visible(gpu), **threads})
            for number, gpu in enumerate(gpus, 1)
        ]
    return [WorkerPlace(number, f"worker {number}", threads) for number in range(1, count + 1)]


def _check(device: str, devices: tuple[int, ...], there: int) -> None:
    if device not in ("auto", "cuda"):
        raise UsageError(
            f"executor.devices names GPUs, and the device is {device!r}.",
            hint="Leave one of the two out, or say --device cuda.",
        )
    if missing := [gpu for gpu in devices if gpu >= there]:
        numbers = f"0 to {there - 1}" if there > 1 else "0" if there else "none"
        raise UsageError(
            f"There is no GPU {missing[0]} here: executor.devices may name {numbers}.",
            hint="They are counted as CUDA does, from 0, among those that CUDA_VISIBLE_DEVICES lets us see.",
        )


def _require(device: str) -> None:
    """Raises UsageError where a GPU that is named is surely not there: each run would fail at it."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or _ROCM.exists():
        return
    there, named = cuda_devices(), int(number or 0)
    if named >= there:
        known = f"{counted(there, 'GPU')}, counted from 0" if there else "no GPU"
        raise UsageError(
            f"This machine has {known}, and the device is {device!r}.",
            hint="Say --device auto or --device cpu, or see that the NVIDIA driver works and CUDA_VISIBLE_DEVICES hides none.",
        )


def _visible(gpu: int) -> str:
    """The name for a new process of what is this GPU's number in ours."""
    ours = os.environ.get(VISIBLE)
    return str(gpu) if ours is None else ours.split(",")[gpu].strip()
