"""The device of a training: which one, what it can, how much memory it has."""

from __future__ import annotations

import os
import re
import sys

import torch

from dupekit.api import UsageError

KEPT_SHARE = 0.25
"""Of a GPU's memory that PyTorch may keep, unused, after a training: taking it anew costs time."""

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory"  # the CPU's allocator
    r"|CUDA error: out of memory|CU(BLAS|DNN)_STATUS_\w*ALLOC(ATION)?_FAILED"  # what is not PyTorch's own allocator
)


def device_named(name: str) -> torch.device:
    """Raises UsageError for a device that is not there, or is not one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (number and not number.isdecimal())):
        raise UsageError(f"There is no device {name!r}; valid are auto, cpu, cuda and cuda:N.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise UsageError(
                f"The device {name} is not there: PyTorch {torch.__version__} sees {count} CUDA devices.",
                hint="Use --device cpu, or see that the driver and PyTorch's CUDA version fit.",
            )
        return torch.device("cuda", int(number) if number else torch.cuda.current_device())
    return torch.device("cpu")


def description(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def computes_bfloat16(device: torch.device) -> bool:
    """Whether it has instructions for it, which are twice as fast at equal accuracy; emulated it is slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in has)


def memory_bytes(device: torch.device) -> int:
    """All of its memory, whoever uses it; 0 where that cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0


def peak_memory_mib(device: torch.device) -> float:
    """The most that tensors have taken on a GPU; on the CPU the most that this process has."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def give_back_memory(device: torch.device) -> None:
    """Frees what PyTorch only keeps for later on a GPU, where that is much: the validator has an allocator of its own."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if kept > KEPT_SHARE * memory_bytes(device):
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch's allocator on CUDA raises OutOfMemoryError, all else a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))
