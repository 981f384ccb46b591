"""What a selective scan is given, in the order of the op."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["ScanInputs"]


class ScanInputs(NamedTuple):
    """The arguments of :func:`mimamba_edge.export.ops.scan.selective_scan`, where each is explained.

    Attributes:
        u: Input ``(b, l, d)``.
        delta: Step sizes before bias ``(b, l, d)``.
        A: Decay rates ``(d, n)``.
        B: Input maps ``(b, l, g, n)``.
        C: Output maps ``(b, l, g, n)``.
        D: Skip ``(d,)``.
        delta_bias: Bias of the step sizes ``(d,)``.
        initial_state: ``(1, d, n)`` or ``(b, d, n)``.
        z: Gate ``(b, l, d)``, or ``None``.
        delta_softplus: Whether the step sizes go through a softplus.
        reverse: Whether the scan runs from the last step to the first.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor
    initial_state: Tensor
    z: Tensor | None = None
    delta_softplus: bool = False
    reverse: bool = False
