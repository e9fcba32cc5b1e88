"""What a device's memory holds, and how to tell that it does not suffice."""

from __future__ import annotations

import re
import sys

import torch

KEPT_SHARE = 0.25
"""Of a GPU's memory that PyTorch may keep, unused, after a training: taking it anew costs time."""

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory"  # the CPU's allocator
    r"|CUDA error: out of memory|CU(BLAS|DNN)_STATUS_\w*ALLOC(ATION)?_FAILED"  # what is not PyTorch's own allocator
)


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch's allocator on CUDA raises OutOfMemoryError, all else a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


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
        if kept > KEPT_SHARE * torch.cuda.mem_get_info(device)[1]:
            torch.cuda.empty_cache()
