"""Which GPUs this machine has: a Jetson's own, else those that their driver names."""

from __future__ import annotations

import ctypes
from pathlib import Path

from mimamba_edge.machine.discrete import gpus
from mimamba_edge.machine.jetson import compute_capability, cuda_version, is_jetson

__all__ = ["architectures", "driver_cuda", "first_capability", "newest_cuda"]


def architectures() -> tuple[int, ...]:
    """Return the compute capabilities of this machine's GPUs, times ten; none where there is no GPU."""
    integrated = compute_capability()
    return (integrated,) if integrated else tuple(sorted({gpu.sm for gpu in gpus() if gpu.sm}))


def first_capability(root: Path = Path("/")) -> int | None:
    """Return the compute capability, times ten, of the GPU that CUDA uses by default.

    ``None`` where there is no GPU, 0 for one whose capability cannot be read (a Jetson's container).
    """
    if is_jetson(root):
        return compute_capability(root) or 0
    return next((gpu.sm or 0 for gpu in gpus()), None)


def driver_cuda() -> str | None:
    """Return the newest CUDA that the driver says it runs, as ``"12.6"``; ``None`` where there is none."""
    version = ctypes.c_int()
    try:
        # The one call of the driver that wants no GPU and no initialisation.
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    number = 0 if failed else version.value
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def newest_cuda(root: Path = Path("/")) -> str | None:
    """Return the newest CUDA that this machine's driver runs; ``None`` where nothing tells it.

    Where no driver can be asked, a Jetson's Linux tells it: the driver is part of it.
    """
    return driver_cuda() or cuda_version(root)
