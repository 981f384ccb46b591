"""Which GPUs this machine has: a Jetson's own, else those that their driver names."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.machine.discrete import gpus
from mimamba_edge.machine.jetson import compute_capability, is_jetson

__all__ = ["architectures", "first_capability"]


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
