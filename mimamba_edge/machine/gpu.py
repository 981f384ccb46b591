"""Which GPUs this machine has: a Jetson's own, else those that their driver names."""

from __future__ import annotations

from mimamba_edge.machine.discrete import gpus
from mimamba_edge.machine.jetson import compute_capability

__all__ = ["architectures"]


def architectures() -> tuple[int, ...]:
    """Return the compute capabilities of this machine's GPUs, times ten; none where there is no GPU."""
    integrated = compute_capability()
    return (integrated,) if integrated else tuple(sorted({gpu.sm for gpu in gpus() if gpu.sm}))
