"""mamba_ssm's fused scan for training on a CUDA device, where that package is installed."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

from torch import Tensor

from mimamba_edge.export.ops.scan_inputs import ScanInputs

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


def scan_in_their_layout(function: ScanFunction, given: ScanInputs) -> Tensor:
    """Return ``y (b, l, d)`` of :func:`mimamba_edge.export.ops.scan.selective_scan` from a zero state.

    Args:
        function: Takes ``(b, d, l)`` and ``(b, g, n, l)``, and has its own gradients.
        given: Its initial state is not looked at.
    """

    def turned(x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        return (x.flip(-1) if given.reverse else x).contiguous()

    u, delta, B, C = (turned(x) for x in (given.u, given.delta, given.B, given.C))
    z = None if given.z is None else turned(given.z)
    y = function(u, delta, given.A, B, C, given.D, z, given.delta_bias, given.delta_softplus)
    return (y.flip(-1) if given.reverse else y).transpose(1, 2)
