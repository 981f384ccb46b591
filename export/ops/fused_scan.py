"""mamba_ssm's fused scan for training on a CUDA device, where that package is installed."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

from torch import Tensor

__all__ = ["ScanFunction", "find_fused_scan", "scan_in_their_layout"]

ScanFunction = Callable[..., Tensor]
"""``selective_scan_fn(u, delta, A, B, C, D, z, delta_bias, delta_softplus)`` of mamba_ssm."""


@functools.cache
def find_fused_scan() -> ScanFunction | None:
    """Return mamba_ssm's ``selective_scan_fn``, or ``None`` where it cannot be imported."""
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except (ImportError, OSError):  # not installed, or built for another torch
        return None
    function: ScanFunction = module.selective_scan_fn
    return function


def scan_in_their_layout(
    function: ScanFunction,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    z: Tensor,
    *,
    reverse: bool = False,
) -> Tensor:
    """Return ``y (b, l, d)`` of :func:`mimamba_edge.export.ops.scan.selective_scan` from a zero state.

    Args:
        function: Takes ``(b, d, l)`` and ``(b, g, n, l)``, and has its own gradients.
        u: As of the op, like all that follow; through the softplus.
        delta: Step sizes.
        A: Decay rates.
        B: Input maps.
        C: Output maps.
        D: Skip.
        delta_bias: Bias of the step sizes.
        z: Gate.
        reverse: Run from the last step to the first.
    """

    def turned(x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        return (x.flip(-1) if reverse else x).contiguous()

    y = function(turned(u), turned(delta), A, turned(B), turned(C), D, turned(z), delta_bias, True)
    return (y.flip(-1) if reverse else y).transpose(1, 2)
